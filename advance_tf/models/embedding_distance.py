"""The distance of an embedding from those of the training pairs."""

import dataclasses

import numpy as np
import numpy.typing as npt
import tensorflow as tf

# Principal directions of the covariance. The others share one variance.
RANK = 32
# The least variance that a feature is divided by, as a share of the mean variance. Half
# of YAMNet's features are almost 0 in all training pairs of a data set of some hundred;
# divided by their own deviation, they would dominate wherever they are not.
_LEAST_VARIANCE = 1e-2


def divided_variance(variance: np.ndarray) -> np.ndarray:
    """The variances by which features are standardized.

    Args:
        variance: float [D], variance of each feature.

    Returns:
        float [D], at least 1 % of the mean variance; 1 where all are 0.

    >>> divided_variance(np.array([2.0, 0.0])).tolist()
    [2.0, 0.01]
    """
    variance = np.maximum(variance, _LEAST_VARIANCE * variance.mean())
    floored: np.ndarray = np.where(variance > 0, variance, 1.0)
    return floored


@dataclasses.dataclass(frozen=True, eq=False)
class EmbeddingDistance:
    """Mahalanobis distance to the nearest scene mean.

        d(x)² = min_k (z − m_k)ᵀ Σ⁻¹ (z − m_k) / D,  z = (x − μ) / σ
        Σ = V diag(λ) Vᵀ + ρ (I − V Vᵀ)

    Σ is the covariance within the scenes. V are its first principal directions; in all
    others it has the mean variance ρ, as in probabilistic PCA, so that some hundred
    pairs determine it. d is about 1 on the training pairs.

    >>> rng = np.random.default_rng(0)
    >>> distance = fit_distance(rng.normal(size=(99, 4)), np.arange(99) % 3)
    >>> near, far = distance(np.array([[0.0] * 4, [9.0] * 4], np.float32)).numpy()
    >>> bool(near < 1), bool(far > 5)
    (True, True)

    Attributes:
        mean: μ, float32 [D].
        scale: 1 / σ, float32 [D].
        scene_means: m_k of the scenes with training pairs, float32 [K, D].
        directions: V, float32 [D, R].
        weights: 1/λ − 1/ρ, float32 [R].
        residual: 1/ρ.
        threshold: largest distance of an embedding that counts as near the training.

    Source: Lee et al., "A Simple Unified Framework for Detecting Out-of-Distribution
    Samples and Adversarial Attacks", NeurIPS 2018, with the covariance of Tipping and
    Bishop, "Probabilistic Principal Component Analysis", 1999.
    """

    mean: np.ndarray
    scale: np.ndarray
    scene_means: np.ndarray
    directions: np.ndarray
    weights: np.ndarray
    residual: float
    threshold: float = float("inf")

    def __call__(self, embeddings: npt.ArrayLike | tf.Tensor) -> tf.Tensor:
        """The distances of embeddings, as operations of a graph or at once.

        Args:
            embeddings: float32 [B, D].

        Returns:
            float32 [B].
        """
        size = len(self.mean)
        z = (tf.convert_to_tensor(embeddings, tf.float32) - self.mean) * self.scale
        offsets = z[:, None, :] - self.scene_means  # [B, K, D]
        # One matrix product for all scenes, [B · K, R].
        flat = tf.reshape(offsets, [-1, size])
        projected = tf.matmul(flat, tf.constant(self.directions))
        squares = tf.reduce_sum(projected * projected * self.weights, axis=1)
        squares += tf.reduce_sum(flat * flat, axis=1) * self.residual
        nearest = tf.reduce_min(
            tf.reshape(squares, [-1, len(self.scene_means)]), axis=1
        )
        return tf.sqrt(tf.maximum(nearest, 0.0) / size)  # [B]

    def with_threshold(
        self, validation: npt.ArrayLike, quantile: float = 0.99
    ) -> "EmbeddingDistance":
        """The same distance with a threshold from validation pairs.

        Args:
            validation: float [m, D], embeddings of pairs that the distance was not
                fitted on.
            quantile: share of these pairs that are within the threshold.

        Returns:
            The distance, whose threshold is this quantile of their distances.
        """
        distances = self(np.asarray(validation, np.float32)).numpy()
        threshold = float(np.quantile(distances, quantile, method="higher"))
        return dataclasses.replace(self, threshold=threshold)


def fit_distance(
    embeddings: npt.ArrayLike, scenes: npt.ArrayLike, rank: int = RANK
) -> EmbeddingDistance:
    """Fits the distance on the embeddings of training pairs.

    Args:
        embeddings: float [n, D].
        scenes: int [n].
        rank: number of principal directions; lower where n or D is.

    Returns:
        The distance, without a threshold.
    """
    values = np.asarray(embeddings, np.float64)
    scenes = np.asarray(scenes)
    mean, variance = values.mean(axis=0), values.var(axis=0)
    scale = 1 / np.sqrt(divided_variance(variance))
    z = (values - mean) * scale
    present, place = np.unique(scenes, return_inverse=True)
    scene_means = np.stack([z[place == k].mean(axis=0) for k in range(len(present))])
    within = z - scene_means[place]
    count, size = within.shape
    freedom = max(1, count - len(present))
    eigenvalues, vectors = np.linalg.eigh(within.T @ within / freedom)
    rank = max(1, min(rank, size - 1, freedom))
    variances, directions = eigenvalues[::-1][:rank], vectors[:, ::-1][:, :rank]
    rest = (eigenvalues.sum() - variances.sum()) / max(1, size - rank)
    # Without any variance that remains, as in a test, that of the unit.
    rest = rest if rest > 1e-6 else 1.0
    variances = np.maximum(variances, 1e-6)
    return EmbeddingDistance(
        mean.astype(np.float32),
        scale.astype(np.float32),
        scene_means.astype(np.float32),
        directions.astype(np.float32),
        (1 / variances - 1 / rest).astype(np.float32),
        float(1 / rest),
    )
