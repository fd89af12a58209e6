"""DeepCluster (Caron et al. 2018, arXiv:1807.05520): before each epoch all images are grouped by what the network says of them;
in the epoch it learns to tell the group of each."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..losses.dino import normalized_entropy
from .alexnet import AlexNet
from .backbone import backbone, unit_gains
from .distributed import add_up, gather, mean_of_rows, world_size
from .lloyd import kmeans
from .method import Method
from .rows import ShardedRows
from .shared_draws import SharedDraws
from .training.bounds import above_zero, not_negative, whole
from .training.config import key
from .views import Views
from .whitening import whitening

WRITTEN = 4096  # images whose cluster is kept at a time


@dataclass(frozen=True)
class DeepClusterConfig:
    backbone: str = key("any of timm's names, alexnet or convnet4", "alexnet")
    edges: bool = key("views are two gradients, as recipe=deepcluster has them; false: three colours", True)
    clusters: int = key("that images are grouped into, K", 10000)
    pca: int = key("directions of the features that are kept, and whitened, before images are grouped", 256)
    iterations: int = key("of each k-means", 20)
    balanced: bool = key("each cluster counts as much, however many images it has; false: each image", True)
    head_lr: float = key("rate of the layer that tells the cluster, which moves without momentum, and is new in each epoch", 0.05)
    head_decay: float = key("weight decay of that layer", 1e-5)

    def __post_init__(self) -> None:
        whole(self, "pca", "iterations")
        whole(self, "clusters", least=2)
        above_zero(self, "head_lr")
        not_negative(self, "head_decay")


class DeepCluster(Method):
    """Group "global" holds V views of each image to learn from, (V, B, C, image_px, image_px), as published one; group "cluster"
    the plain one by which it is grouped, (1, B, C, image_px, image_px)."""

    Config = DeepClusterConfig
    per_image = True
    encoder: nn.Module
    sizes: Tensor

    def __init__(self, config: DeepClusterConfig, *, image_px: int, in_chans: int = 3, images: int | None = None) -> None:
        super().__init__()
        if images is not None and images < config.clusters:
            raise ValueError(f"model.clusters={config.clusters} needs at least as many images, the data has {images}; use fewer")
        self.config = config
        self.channels = 2 if config.edges else in_chans
        self.encoder, self.feature_dim = backbone(config.backbone, image_px, self.channels)
        unit_gains(self.encoder)
        self.head = nn.Linear(self.feature_dim, config.clusters)
        self.register_buffer("sizes", torch.zeros(config.clusters))  # images of each cluster
        self.cluster_of = ShardedRows(images or 0, 1)  # 1 + the number of an image's cluster; 0: not known
        self.draws = SharedDraws()
        self.seen: list[tuple[Tensor, Tensor]] = []  # index (B,) and features (B, D), of the pass under way
        self.clustered = -1.0

    def forward(self, batch: Views) -> dict[str, Tensor]:
        """{"loss": cross entropy of each view with its image's cluster, a mean in which each cluster counts as much;
        "accuracy": share of the views whose cluster is told, chance 1 / K; "marginal_entropy": entropy over ln K of what is told,
        in the mean over views, "cluster_entropy": that of the clusters' sizes; 0 where all images have one cluster}.

        The authors draw images so that each cluster that has some is as likely; here each image comes once in an epoch, and
        counts N / (K n) for a cluster of n of N images, K clusters with any: the gradient's expectation is the same, not its
        variance. An image without a cluster, which the last pass left out, counts for nothing. Several ranks: each returns its
        share of the loss times the world size, so that the mean over ranks is that of all. Raises ValueError where the network
        was built without a number of images, or the recipe has no such views.
        """
        views = self._views(batch, "global")
        logits = self.head(self.activated(self.before_activation(views.flatten(0, 1)))).float()
        index, offset = gather(batch.index)
        cluster = self.cluster_of.read(index)[offset : offset + views.shape[1], 0].long() - 1
        target = cluster.repeat(len(views))
        share = world_size() / add_up((target >= 0).sum()).clamp(min=1)
        losses = F.cross_entropy(logits, target, ignore_index=-1, reduction="none")
        if self.config.balanced:
            losses = losses * self.weights()[target.clamp(min=0)]
        with torch.no_grad():
            mean, _ = mean_of_rows(logits.softmax(1))
            accuracy = (logits.argmax(1) == target).sum() * share
        return {"loss": losses.sum() * share, "accuracy": accuracy, "marginal_entropy": normalized_entropy(mean),
                "cluster_entropy": normalized_entropy(self.sizes / self.sizes.sum().clamp(min=1))}

    def weights(self) -> Tensor:
        """(K,): what an image of each cluster counts; 1 in the mean over images."""
        return self.sizes.sum() / ((self.sizes > 0).sum() * self.sizes).clamp(min=1)

    def before_activation(self, images: Tensor) -> Tensor:
        """(N, C, image_px, image_px) to (N, feature_dim): by what images are grouped; alexnet's fc7 before its ReLU, of all other
        networks their features."""
        if not isinstance(self.encoder, AlexNet):
            features: Tensor = self.encoder(images)
            return features
        convolved = self.encoder.pool(self.encoder.maps(images)["conv5"]).flatten(1)
        return self.encoder.fc[:-1](convolved)

    def activated(self, features: Tensor) -> Tensor:
        return features.relu() if isinstance(self.encoder, AlexNet) else features

    def wants_pass(self, epoch: float) -> bool:
        return epoch == int(epoch)

    @torch.no_grad()
    def observe(self, batch: Views) -> None:
        """In evaluation mode, as in the authors' code."""
        training = self.encoder.training
        self.encoder.eval()
        self.seen.append((batch.index, self.before_activation(self._views(batch, "cluster")[0]).float()))
        self.encoder.train(training)

    def before_step(self, epoch: float) -> None:
        # Once at the beginning of an epoch; a run that is resumed within one has the clusters in its checkpoint.
        if epoch == int(epoch) and epoch != self.clustered:
            self.cluster()
            self.clustered = epoch

    @torch.no_grad()
    def cluster(self) -> None:
        """Group all images that the pass has seen, and begin the layer that tells their clusters anew."""
        if not self.seen:
            raise ValueError("deepcluster groups images that it has seen, and has seen none: let it `observe` them first")
        index, blocks = torch.cat([of for of, _ in self.seen]), [features for _, features in self.seen]
        self.seen = []
        mean, matrix = whitening(blocks, self.config.pca, add_up)
        rows = F.normalize(torch.cat([(block - mean) @ matrix for block in blocks]), dim=1)
        _, cluster = kmeans(rows, self._some(index, rows), iterations=self.config.iterations, add_up=add_up)
        index, cluster = gather(index)[0], gather(cluster)[0]
        self.cluster_of.local.zero_()
        for some, theirs in zip(index.split(WRITTEN), cluster.split(WRITTEN), strict=True):
            self.cluster_of.write(some, theirs[:, None] + 1)
        sizes = torch.bincount(self.cluster_of.local[:, 0].long(), minlength=len(self.sizes) + 1)[1:]
        self.sizes.copy_(add_up(sizes))
        drawn = torch.randn(self.head.weight.shape, generator=self.draws.generator(torch.device("cpu")))
        self.head.weight.copy_(0.01 * drawn)
        self.head.bias.zero_()

    def after_backward(self) -> None:
        # Plain gradient descent at a rate of its own; the optimizer, which has momentum, passes by what has no gradient.
        for weight in self.head.parameters():
            if weight.grad is not None:
                weight.data.add_(weight.grad + self.config.head_decay * weight.data, alpha=-self.config.head_lr)
                weight.grad = None

    def _some(self, index: Tensor, rows: Tensor) -> Tensor:
        """(K, d): rows of images at random, the same on all ranks and for any number of them, others each time."""
        images, wanted = self.cluster_of.images, self.config.clusters
        place = torch.full((images,), -1, device=index.device)
        place[index] = torch.arange(len(index), device=index.device)
        seen = add_up((place >= 0).long())
        order = torch.randperm(images, generator=self.draws.generator(torch.device("cpu"))).to(index.device)
        chosen = order[seen[order] > 0][:wanted]
        if len(chosen) < wanted:
            raise ValueError(f"model.clusters={wanted} needs as many images in a pass, the last one had {len(chosen)}; use "
                             "fewer, or a smaller batch_size")
        own = place[chosen]
        picked = rows.new_zeros(wanted, rows.shape[1])
        picked[own >= 0] = rows[own[own >= 0]]
        return add_up(picked) / seen[chosen][:, None]

    def _views(self, batch: Views, group: str) -> Tensor:
        if not self.cluster_of.images:
            raise ValueError("deepcluster needs the number of images, build(..., images=N); this one was built to be judged")
        views = batch.views.get(group)
        if views is None or views.shape[2] != self.channels:
            found = ", ".join(f"{name} of {of.shape[2]} channels" for name, of in batch.views.items())
            raise ValueError(f"deepcluster needs groups 'global' and 'cluster' of {self.channels} channels (model.edges="
                             f"{str(self.config.edges).lower()}), the recipe has {found}; use recipe=deepcluster")
        return views
