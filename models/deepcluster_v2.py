"""DeepCluster-v2 (Caron et al. 2020, arXiv:2006.09882, appendix; facebookresearch/swav, main_deepclusterv2.py): between epochs,
k-means groups all images by their embeddings; in the next, every crop tells its image's group."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..losses.dino import normalized_entropy
from .backbone import backbone, unit_gains
from .crops import crops_of, embed_crops
from .distributed import add_up, gather, mean_of_rows, world_size
from .heads import mlp
from .kmeans import spherical_kmeans
from .projected import Projected
from .rows import ShardedRows
from .shared_draws import SharedDraws
from .training.bounds import above_zero, whole
from .training.config import key
from .views import Views
from .vit import open_to_sizes

BANKS = 2
"""Global views, whose embeddings are kept and grouped."""


@dataclass(frozen=True)
class DeepClusterV2Config:
    backbone: str = key("any of timm's names, or convnet4; local views need a plain ViT, a Swin or a "
                        "convolutional network", "resnet50")
    projector_hidden: int = key("width inside the projector", 2048)
    projector_dim: int = key("width of the embeddings that are grouped", 128)
    prototypes: int = key("groups of each clustering, K", 3000)
    clusterings: int = key("clusterings of all images, in turns by the embeddings of the first and the second view", 3)
    iterations: int = key("of each k-means", 10)
    temperature: float = key("of the softmax that tells the group", 0.1)

    def __post_init__(self) -> None:
        whole(self, "projector_hidden", "projector_dim", "clusterings", "iterations")
        whole(self, "prototypes", least=2)
        above_zero(self, "temperature")


class DeepClusterV2(Projected):
    """Group "global" holds two views of each image, (2, B, C, image_px, image_px), whose embeddings are kept; group "local",
    where there is one, more views, of one other size. V views in all, H clusterings into K groups each."""

    Config = DeepClusterV2Config
    per_image = True

    def __init__(self, config: DeepClusterV2Config, *, image_px: int, in_chans: int = 3, images: int | None = None) -> None:
        super().__init__()
        if images is not None and images < config.prototypes:
            raise ValueError(f"model.prototypes={config.prototypes} needs at least as many images, the data has {images}; use "
                             "fewer")
        self.config = config
        self.backbone, self.feature_dim = backbone(config.backbone, image_px, in_chans)
        open_to_sizes(self.backbone)
        unit_gains(self.backbone)
        self.projector = mlp([self.feature_dim, config.projector_hidden, config.projector_dim], hidden_bias=True, bias=True)
        # (H, K, D): the centroids, which no gradient moves.
        shape = config.clusterings, config.prototypes, config.projector_dim
        self.prototypes = nn.Parameter(torch.zeros(shape), requires_grad=False)
        # Zeros stand for what is not known: an image that this epoch has not shown yet; one that the last epoch left out.
        self.banks = nn.ModuleList(ShardedRows(images or 0, config.projector_dim) for _ in range(BANKS))
        self.groups = ShardedRows(images or 0, config.clusterings)  # 1 + the number of an image's group
        self.draws = SharedDraws()
        self.clustered = -1.0

    def forward(self, batch: Views) -> dict[str, Tensor]:
        """{"loss": cross entropy of each crop with its image's group, mean over crops, images and clusterings, "accuracy": share
        of crops whose nearest prototype is their image's, of the first clustering; chance 1 / K, "marginal_entropy": entropy
        over ln K of what is told, in the mean over crops: 0 where all images have one group}.

        An image without a group, which the epoch before left out, counts for nothing. Several ranks: each returns its share of
        the loss times the world size, so that the mean over ranks is that of all. Raises ValueError where the network was built
        without a number of images, for other than two global views, and as `embed_crops` does.
        """
        z = embed_crops(self.backbone, self.projector, self._crops(batch), "deepcluster_v2")
        index, offset = gather(batch.index)
        group = self.groups.read(index)[offset : offset + z.shape[1]].long() - 1  # (B, H)
        images = add_up((group[:, 0] >= 0).sum()).clamp(min=1)
        share = world_size() / (len(z) * images)
        with torch.autocast(z.device.type, enabled=False):
            logits = [F.linear(z, prototypes).flatten(0, 1) / self.config.temperature for prototypes in self.prototypes]
            targets = [of_images.repeat(len(z)) for of_images in group.T]
            losses = [F.cross_entropy(told, target, ignore_index=-1, reduction="sum")
                      for told, target in zip(logits, targets, strict=True)]
        with torch.no_grad():
            accuracy = (logits[0].argmax(1) == targets[0]).sum() * share
            mean, _ = mean_of_rows(logits[0].softmax(1))
        if self.training:
            self._keep(index, z.detach())
        return {"loss": torch.stack(losses).mean() * share, "accuracy": accuracy, "marginal_entropy": normalized_entropy(mean)}

    def wants_pass(self, epoch: float) -> bool:
        return epoch == 0

    @torch.no_grad()
    def observe(self, batch: Views) -> None:
        """Each global view by itself, as in the authors' code: in train mode, batch norm's statistics move."""
        views = self._crops(batch)[0]
        z = torch.cat([embed_crops(self.backbone, self.projector, [view[None]], "deepcluster_v2") for view in views])
        self._keep(gather(batch.index)[0], z)

    def before_step(self, epoch: float) -> None:
        # Once at the beginning of an epoch; a run that is resumed within one has the groups in its checkpoint.
        if epoch == int(epoch) and epoch != self.clustered:
            self.cluster()
            self.clustered = epoch

    @torch.no_grad()
    def cluster(self) -> None:
        """Group all images anew, by what the banks hold of the epoch before, and empty the banks for the next."""
        for number, prototypes in enumerate(self.prototypes):
            bank = self.banks[number % BANKS]
            assert isinstance(bank, ShardedRows)
            centroids, group = spherical_kmeans(bank.local, self._some(bank), iterations=self.config.iterations, add_up=add_up)
            prototypes.copy_(centroids)
            self.groups.local[:, number] = (group + 1) * bank.local.any(1)
        for bank in self.banks:
            assert isinstance(bank, ShardedRows)
            bank.local.zero_()

    def _some(self, bank: ShardedRows) -> Tensor:
        """(K, D): rows of images at random, the same on all ranks and for any number of them. The authors take rank 0's."""
        found: list[Tensor] = []
        order = torch.randperm(bank.images, generator=self.draws.generator(torch.device("cpu")))
        for index in order.to(bank.local.device).split(2 * self.config.prototypes):
            rows = bank.read(index)
            found.append(rows[rows.any(1)])
            if sum(map(len, found)) >= self.config.prototypes:
                return torch.cat(found)[: self.config.prototypes]
        raise ValueError(f"model.prototypes={self.config.prototypes} needs as many images in an epoch, the last one had "
                         f"{sum(map(len, found))}; use fewer, or a smaller batch_size, or let the images be seen first (observe)")

    def _keep(self, index: Tensor, z: Tensor) -> None:
        """index: of the images of all ranks; z (V, B, D): of this rank's."""
        for bank, own in zip(self.banks, z[:BANKS], strict=True):
            assert isinstance(bank, ShardedRows)
            bank.write(index, gather(own)[0])

    def _crops(self, batch: Views) -> list[Tensor]:
        crops = crops_of(batch, "deepcluster_v2")
        if not self.groups.images:
            raise ValueError("deepcluster_v2 needs the number of images, build(..., images=N); this one was built to be judged")
        if len(crops[0]) != BANKS:
            raise ValueError(f"deepcluster_v2 keeps two views in group 'global', the recipe has {len(crops[0])}; "
                             "use recipe=deepcluster_v2")
        return crops
