"""CAE (Chen et al. 2022, arXiv:2202.03026): an encoder sees what is visible, a regressor tells what the encoder would say of the
rest, a decoder tells its codes: the encoder is left to representing alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .backbone import VisionTransformer, set_drop_path, set_layer_scale, transformer_blocks, vision_transformer
from .latent_regressor import LatentRegressor
from .mae import orders
from .method import Method
from .patch_pictures import overlaid
from .pictured import Shown
from .positions import sincos_2d
from .token_pictures import token_map
from .token_targets import TokenTargets, TokenTargetsConfig
from .training.bounds import above_zero, from_0_to_1, not_negative, whole
from .training.config import key
from .views import Views
from .vit import tokens


@dataclass(frozen=True)
class CAEConfig(TokenTargetsConfig):
    backbone: str = key("a plain vision transformer of timm's", "vit_base_patch16_224")
    patch_px: int | None = key("side of a patch; null: the backbone's own; 4 for 32 px images", None)
    embed_dim: int | None = key("width of the encoder; null: the backbone's own", None)
    depth: int | None = key("blocks of the encoder; null: the backbone's own", None)
    heads: int | None = key("attention heads of the encoder; null: the backbone's own", None)
    layer_scale: float = key("first gain of what each of the encoder's blocks adds", 0.1)
    decoder_layer_scale: float = key("the same of the regressor's and the decoder's", 0.1)
    drop_path: float = key("stochastic depth of the last block of each of the three", 0.1)
    regressor_depth: int = key("blocks of the regressor", 4)
    decoder_dim: int = key("width of regressor and decoder; another than the encoder's: a linear layer and a norm between", 768)
    decoder_depth: int = key("blocks of the decoder", 4)
    decoder_heads: int = key("attention heads of regressor and decoder", 12)
    alignment_weight: float = key("of the squared error between what is regressed and what the encoder says", 2.0)
    pooling: Literal["cls", "mean"] = key("features for evaluation: the class token, or the mean of all patches", "cls")

    def __post_init__(self) -> None:
        super().__post_init__()
        whole(self, "patch_px", "embed_dim", "depth", "heads", "regressor_depth", "decoder_dim", "decoder_depth", "decoder_heads")
        above_zero(self, "layer_scale", "decoder_layer_scale")
        from_0_to_1(self, "drop_path")
        not_negative(self, "alignment_weight")
        if self.decoder_dim % self.decoder_heads or self.decoder_dim % 4:
            raise ValueError(f"model.decoder_dim needs to be a multiple of 4 and of model.decoder_heads={self.decoder_heads}, "
                             f"got {self.decoder_dim}")


class CAE(Method):
    """Group "global" holds V views (V, B, C, image_px, image_px) with one drawn mask each, all of one size; group "target" the
    same views as the tokenizer takes them.

    L patches in `grid` rows and columns, K of them visible and M masked; D the encoder's width, d the decoder's.
    """

    Config = CAEConfig
    encoder: VisionTransformer
    places: Tensor

    def __init__(self, config: CAEConfig, *, image_px: int, in_chans: int = 3) -> None:
        super().__init__()
        self.config, dim = config, config.decoder_dim
        self.encoder = vision_transformer(config.backbone, image_px, in_chans, patch_px=config.patch_px,
                                          embed_dim=config.embed_dim, depth=config.depth, heads=config.heads)
        self.feature_dim = int(self.encoder.embed_dim)
        patch_px = int(self.encoder.patch_embed.patch_size[0])
        self.grid = (image_px // patch_px, image_px // patch_px)
        table = self.encoder.pos_embed
        if self.encoder.cls_token is None or not isinstance(self.encoder.norm, nn.LayerNorm) or table is None:
            raise ValueError(f"backbone {config.backbone!r} needs a class token, and a norm before it pools; use for example "
                             "'vit_base_patch16_224'")
        self.prefix = int(self.encoder.num_prefix_tokens)
        set_layer_scale(self.encoder, config.layer_scale)
        self.to_decoder = nn.Sequential() if dim == self.feature_dim else nn.Sequential(
            nn.Linear(self.feature_dim, dim), nn.LayerNorm(dim, eps=1e-6))
        self.regressor = LatentRegressor(dim, config.regressor_depth, config.decoder_heads, config.decoder_layer_scale)
        self.decoder = transformer_blocks(dim, config.decoder_depth, config.decoder_heads)
        set_layer_scale(self.decoder, config.decoder_layer_scale)
        self.decoder_norm = nn.LayerNorm(dim, eps=1e-6)
        self.head = nn.Linear(dim, config.vocabulary)
        for part in (self.encoder, self.regressor, self.decoder):
            set_drop_path(part, config.drop_path)
        table.requires_grad_(False)
        table.copy_(_places(self.grid, self.feature_dim, table.shape[1] - self.grid[0] * self.grid[1]))
        self.register_buffer("places", _places(self.grid, dim, 0)[None], persistent=False)
        self._begin()
        self.targets = TokenTargets(config, in_chans)  # last: the same first weights of the rest, whatever it is

    def _begin(self) -> None:
        """First weights as in the authors' code: Xavier for all linear layers; patches' and tokens' Gaussian of 0.02, cut at one
        standard deviation."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        vit = self.encoder
        for token in (vit.patch_embed.proj.weight, self.regressor.mask_token, vit.cls_token, vit.reg_token):
            if token is not None:
                nn.init.trunc_normal_(token, std=0.02, a=-0.02, b=0.02)

    def forward(self, batch: Views) -> dict[str, Tensor]:
        """{"loss": "code_loss", cross entropy of the masked patches' codes, + alignment_weight * "alignment", squared error of
        their regressed latents, mean over all values; "accuracy": share of the codes that are found; "latent_std": of the
        latents that are aligned to, over the masked patches: 0 where all are told the same}.

        Raises ValueError where the masks' grid is not the patches' or the tokenizer's, masks hide different numbers of patches,
        or there is no tokenizer.
        """
        images = batch.views["global"].flatten(0, 1)
        visible, hidden = self._sides(batch.masks("global").flatten(0, 1), images.device)
        codes = self.targets.codes(self._target(batch), self.grid).gather(1, hidden)
        latents, logits = self.tell(images, visible, hidden)
        with torch.no_grad():  # the encoder itself, in whatever mode it is in
            aligned = self.to_decoder(tokens(self.encoder, images, hidden))[:, self.prefix :].float()
        code_loss = F.cross_entropy(logits.float().flatten(0, 1), codes.flatten())
        alignment = F.mse_loss(latents.float(), aligned)
        return {"loss": code_loss + self.config.alignment_weight * alignment, "code_loss": code_loss.detach(),
                "alignment": alignment.detach(), "accuracy": (logits.detach().argmax(2) == codes).float().mean(),
                "latent_std": aligned.flatten(0, 1).std(0).mean()}

    def tell(self, images: Tensor, visible: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """images (N, C, H, W), visible (N, K) and hidden (N, M), which patches, to latents (N, M, d) and logits (N, M,
        vocabulary) of the hidden ones, of whose pixels nothing is used."""
        seen = self.to_decoder(tokens(self.encoder, images, visible))[:, self.prefix :]
        at, seen_at = (self.places.expand(len(images), -1, -1).gather(1, which[:, :, None].expand(-1, -1, seen.shape[2]))
                       for which in (hidden, visible))
        latents = self.regressor(seen, at, seen_at)
        return latents, self.head(self.decoder_norm(self.decoder(latents + at)))

    def _sides(self, mask: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
        """mask (N, rows, columns) to which patches are visible (N, K) and which hidden (N, M), ascending, on the device."""
        if tuple(mask.shape[1:]) != self.grid:
            raise ValueError(f"masks of {mask.shape[1]} x {mask.shape[2]} patches do not fit a backbone of {self.grid[0]} x "
                             f"{self.grid[1]} patches; set model.patch_px, or grid and target of the recipe's mask")
        visible, restore = orders(mask.flatten(1))
        hidden = restore.argsort(1)[:, visible.shape[1] :]
        if not hidden.shape[1]:
            raise ValueError("no patch is masked, so there is nothing to learn from; use a recipe that masks at least one")
        return visible.to(device, non_blocking=True), hidden.to(device, non_blocking=True)

    def _target(self, batch: Views) -> Tensor:
        views, own = batch.views.get("target"), batch.views["global"]
        if views is None or views.shape[:2] != own.shape[:2]:
            raise ValueError("cae needs the views of group 'global' once more as group 'target', as the tokenizer takes them; "
                             "use recipe=cae, or recipe=cae_cifar")
        return views.flatten(0, 1)

    def wants_pass(self, epoch: float) -> bool:
        return self.targets.wants_pass(epoch)

    def observe(self, batch: Views) -> None:
        self.targets.observe(self._target(batch))

    def before_step(self, epoch: float) -> None:
        self.targets.open()

    def features(self, images: Tensor) -> Tensor:
        """(N, C, image_px, image_px) to (N, feature_dim): all patches are seen, nothing is regressed."""
        found = tokens(self.encoder, images)
        return found[:, 0] if self.config.pooling == "cls" else found[:, self.prefix :].mean(1)

    def pictures(self, batch: Shown) -> dict[str, Tensor]:
        """Of each image's first view "masked", what the encoder sees; "codes", each in a colour of its own; "told", the
        likeliest ones where it was masked; "painted" from those, where the tokenizer can; "original"."""
        images, masks = batch.views["global"][0].float(), batch.masks("global")[0]
        visible, hidden = self._sides(masks, images.device)
        codes = self.targets.codes(self._target(batch)[: len(images)], self.grid)
        told = codes.scatter(1, hidden, self.tell(images, visible, hidden)[1].argmax(2))
        original = batch.rgb("global", images)
        columns = {"masked": overlaid(original, masks)}
        for title, shown in (("codes", codes), ("told", told)):
            columns[title] = token_map(shown.unflatten(1, self.grid), self.config.vocabulary)
        painted = self.targets.paint(told, self.grid)
        columns |= {} if painted is None else {"painted": batch.rgb("target", painted)}
        return columns | {"original": original}


def _places(grid: tuple[int, int], dim: int, prefix: int) -> Tensor:
    """The authors' fixed positions, whose first half is the row's, where MAE's is the column's."""
    return sincos_2d(*grid, dim, prefix).roll(dim // 2, 1)
