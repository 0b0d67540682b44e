"""LaneTrainer: Trainer for labels that cannot be trusted."""

import copy
import warnings
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader
from transformers import TrainingArguments

from .buffer import AlmBuffer
from .config import LaneConfig
from .contrastive_step import ContrastiveBatch, contrastive_term
from .joint_trainer import JointTrainer
from .margins import finite_rows, make_label_aware, smooth_probabilities
from .networks import check_auxiliary, checkpoint_activations, make_auxiliary, offers_hidden_states
from .resumable_trainer import Stateful
from .row_scores import RowScores
from .row_statistics import Observation
from .row_weights import RowWeights
from .similarity import ClassSimilarity
from .soft_targets import believed_labels, candidate_targets, interpolated_targets
from .step_rows import StepRows
from .weighting import weighted_mean

_SHARPENING = 0.5  # temperature of the predictions that bootstrapping learns, the usual value


class LaneTrainer(JointTrainer):
    """Fine-tune a classifier on noisy labels with LANE, and find the wrong ones.

    Replaces `transformers.Trainer`: existing code works with the class name changed. The classifier's cross-entropy
    is weighted by how well each row's label fits on average over training. With `auxiliary`, a second network is
    trained along, which says which labels are close to each other; by default there is none, and margins are plain.
    `trainer.model` is the classifier alone, saved as an ordinary checkpoint.

    In each step, after one forward,

    1. the label-aware margin of each row (Eq. 3; the plain one without a second network) is added to its average;
    2. the averages give the rows' weights (Eq. 4 to 6, a mixture per label, or the probability that the label is
       right);
    3. loss = mean(weight * CE) + mean(CE of the auxiliary) + contrastive_weight * contrastive term (Eq. 7 to 9);
       by `bootstrap`, what a label loses in weight goes to the row's candidate, or to the classifier's own prediction.

    Weights begin after `weighting_warmup` and `weighting_warmup_steps`; a training of fewer than
    `contrastive_min_steps` steps has no contrastive term, and in others it fades by `contrastive_schedule`.

    Logged besides Trainer's own: `loss_ce`, `loss_aux`, `loss_contrastive`; `lane/mean_weight` and
    `lane/share_below_half` of the batches; and as they stand when it is logged `lane/negative_share`, `lane/alm_mean`
    and `lane/alm_std`: share of the rows whose average is negative, mean and standard deviation of those averages
    (Eq. 5 and 6).

    Args:
        model: the classifier, as for `Trainer`.
        args: a [`LaneConfig`], or `TrainingArguments` (then with LANE's defaults).
        *trainer_args: further positional arguments of `Trainer`.
        auxiliary_model: a classifier that takes the same inputs, instead of the one that `args.auxiliary` names.
        **trainer_kwargs: further arguments of `Trainer`.

    Raises:
        InputError: the task, the training set or the auxiliary model is not supported.

    Source: Sosea & Caragea, "LANE: Label-Aware Noise Elimination", ICLR 2026, Algorithm 1.

    Example:
        >>> trainer = LaneTrainer(model=model, args=args, train_dataset=train)  # doctest: +SKIP
        >>> trainer.train()  # doctest: +SKIP
        >>> issues = trainer.label_issues()  # doctest: +SKIP
    """

    args: LaneConfig
    method_name = "lane"
    config_class = LaneConfig

    def __init__(
        self,
        model: Any = None,
        args: TrainingArguments | None = None,
        *trainer_args: Any,
        auxiliary_model: nn.Module | None = None,
        **trainer_kwargs: Any,
    ) -> None:
        super().__init__(model, args, *trainer_args, **trainer_kwargs)
        if self.args.contrastive == "scl" and not offers_hidden_states(self.model):
            warnings.warn(
                f"{type(self.model).__name__} returns no hidden states, which the contrastive term compares: it is "
                "left out. Set contrastive='none' to say so",
                stacklevel=2,
            )
            self._settle("contrastive", "none")
        if auxiliary_model is not None:
            check_auxiliary(self.model, auxiliary_model, self.num_labels)
            if self.args.auxiliary == "none":
                self._settle("auxiliary", "full")  # by default there is none, but here is one
        self._contrasts = self.args.contrastive != "none"
        self._given_auxiliary = auxiliary_model
        self.auxiliary_model = auxiliary_model
        # With model_init every run starts from fresh networks, so the auxiliary must be able to go back as well.
        self._given_auxiliary_state = None
        if auxiliary_model is not None and self.model_init is not None:
            self._given_auxiliary_state = copy.deepcopy(auxiliary_model.state_dict())
        self.alm: AlmBuffer = None  # type: ignore[assignment]  # until training
        self.row_weights: RowWeights = None  # type: ignore[assignment]  # until training
        self.similarity: ClassSimilarity | None = None

    def _settle(self, name: str, value: str) -> None:
        # Of a copy: the user may make another trainer with the same arguments.
        self.args = copy.copy(self.args)
        setattr(self.args, name, value)

    # ---- The second network ----

    @property
    def has_two_networks(self) -> bool:
        """Whether there is anything but plain fine-tuning to do."""
        return not self.args.is_neutral

    @property
    def needs_embeddings(self) -> bool:  # type: ignore[override]  # here it depends on the arguments
        """Whether there is a contrastive term."""
        return self._contrasts

    @property
    def auxiliary_stride(self) -> int:
        """The auxiliary network sees one of so many entries of a batch."""
        return 1 if self.args.auxiliary_on_views else self.views_per_row

    @property
    def kind_of_second(self) -> str:
        """What the auxiliary network is."""
        return self.args.auxiliary if self._given_auxiliary is None or self.args.auxiliary == "none" else "given"

    def make_second_network(self, classifier: nn.Module) -> nn.Module | None:
        """Return the auxiliary network that was given, as it was then, or one of the kind that the arguments name."""
        if self._given_auxiliary is None or self.kind_of_second != "given":
            kind, seed = self.args.auxiliary, self.args.seed + 1
            return make_auxiliary(classifier, kind, self.num_labels, seed, share_frozen=not self.is_fsdp_enabled)
        if self._given_auxiliary_state is not None:
            self._given_auxiliary.load_state_dict(self._given_auxiliary_state)
        if self.args.gradient_checkpointing:
            checkpoint_activations(self._given_auxiliary, self.args.gradient_checkpointing_kwargs)
        return self._given_auxiliary

    def _prepare_for_training(
        self, max_steps: int, train_dataloader: DataLoader[Any], *args: Any, **kwargs: Any
    ) -> Any:
        self._warn_if_weights_never_apply(max_steps, self.epochs_of(max_steps, train_dataloader))
        self._contrasts = self.args.contrastive != "none" and max_steps >= self.args.contrastive_min_steps
        return super()._prepare_for_training(max_steps, train_dataloader, *args, **kwargs)

    def _warn_if_weights_never_apply(self, max_steps: int, epochs: float) -> None:
        warmup = self.args.weighting_warmup
        name = None
        if warmup >= epochs:
            name = f"weighting_warmup={warmup:g} covers all {epochs:g} epochs"
        elif self.args.weighting_warmup_steps >= max_steps:
            name = f"weighting_warmup_steps={self.args.weighting_warmup_steps} covers all {max_steps} steps"
        if name and self.args.reweight:
            warnings.warn(
                f"{name}: wrong labels are found but not weighted down. Train longer, or lower it", stacklevel=2
            )

    # ---- The loss ----

    def training_loss(self, model: nn.Module, inputs: dict[str, Any], rows: StepRows) -> tuple[Tensor, Any]:
        """Return LANE's loss (Eq. 9) of a training batch, a mean over its entries, and the joint outputs."""
        if self.args.is_neutral:
            return super().training_loss(model, inputs, rows)
        labels = self._labels_of(inputs)
        outputs = model(**{name: value for name, value in inputs.items() if name not in self.label_columns()})
        logits, finite = finite_rows(outputs["logits"])
        aux_probs, loss_aux = self._auxiliary_terms(outputs, labels, rows)

        # Margins and weights belong to rows; a row's weight holds for all its views.
        views = self.views_per_row
        own_ids, own_labels, own_logits = rows.ids[::views], labels[::views], outputs["logits"].detach()[::views]
        own_probs = None if aux_probs is None else aux_probs[:: len(aux_probs) // len(own_ids)]
        all_row_ids = self._record(own_ids, own_labels, own_logits, own_probs, rows)
        weights = self._of_views(self._weights(own_ids, own_labels, all_row_ids))
        beliefs = None
        if self.args.bootstrap == "candidate":
            candidates = self._of_views(self._candidates(own_ids))
            doubts = 1 - weights
            beliefs = believed_labels(labels, candidates, doubts, self.num_labels)
            targets = candidate_targets(logits, labels, candidates, doubts, beliefs)
            loss = weighted_mean(F.cross_entropy(logits, targets, reduction="none"), finite)
        elif self.args.bootstrap == "prediction":
            targets = interpolated_targets(logits, labels, 1 - weights, _SHARPENING)
            loss = weighted_mean(F.cross_entropy(logits, targets, reduction="none"), finite)
        else:
            loss = weighted_mean(F.cross_entropy(logits, labels, reduction="none"), weights * finite)
        self.log_term("loss_ce", loss)
        if loss_aux is not None:
            loss = loss + loss_aux
            self.log_term("loss_aux", loss_aux)
        if self._contrasts:
            batch = ContrastiveBatch(outputs["embeddings"], labels, aux_probs, rows, beliefs)
            loss_contrastive = self._contrastive_term(batch)
            loss = loss + self._contrastive_factor() * loss_contrastive
            self.log_term("loss_contrastive", loss_contrastive)
        return loss, outputs

    def _auxiliary_terms(
        self, outputs: dict[str, Tensor], labels: Tensor, rows: StepRows
    ) -> tuple[Tensor | None, Tensor | None]:
        """Return the smoothed auxiliary probabilities `[B, K]` and the auxiliary network's own cross-entropy.

        B is the number of entries that the auxiliary network has seen: the rows, or the rows and their views.
        """
        if "auxiliary_logits" not in outputs:
            return None, None
        labels = labels[:: self.auxiliary_stride]
        seen = outputs["auxiliary_logits"]
        logits, finite = finite_rows(seen[:: len(seen) // len(labels)])
        loss = weighted_mean(F.cross_entropy(logits, labels, reduction="none"), finite)
        probs = logits.softmax(dim=1)
        if self.similarity is not None:
            self.similarity.update(self.gather_entries(labels, rows), self.gather_entries(probs, rows))
            probs = self.similarity.of(labels)
        return smooth_probabilities(probs, self.args.aux_smoothing), loss

    def _record(
        self, row_ids: Tensor, labels: Tensor, logits: Tensor, aux_probs: Tensor | None, rows: StepRows
    ) -> Tensor:
        """Take the batches of all processes into statistics and averages; return the row ids of all processes."""
        observation = self.row_statistics.observe(row_ids, labels, logits)
        if self.args.label_aware and aux_probs is not None:
            margins = make_label_aware(observation.margins, observation.runner_up, aux_probs)
            *fields, all_margins = self.gather((*observation, margins), rows)
            observation = Observation(*fields)
        else:
            observation = Observation(*self.gather(observation, rows))
            all_margins = observation.margins
        self.record(observation)
        self.row_weights.observe(observation, self.state.epoch or 0.0)
        self.alm.update(observation.row_ids, all_margins)
        return observation.row_ids

    def _weights(self, row_ids: Tensor, labels: Tensor, all_row_ids: Tensor) -> Tensor:
        epoch = self.state.epoch or 0.0
        if self.state.global_step < self.args.weighting_warmup_steps:
            weights = torch.ones(len(row_ids), device=row_ids.device)
        else:
            if self.row_weights.refit_is_due(epoch):
                self.row_weights.refit_if_due(self.alm, self.row_statistics, epoch)
            weights = self.row_weights.of_batch(self.alm, row_ids, labels, all_row_ids, epoch)
        self.log_term("lane/mean_weight", weights.mean())
        self.log_term("lane/share_below_half", (weights < 0.5).mean(dtype=torch.float32))  # noqa: PLR2004 -- a half
        return weights

    def _candidates(self, row_ids: Tensor) -> Tensor:
        return self.row_statistics.candidates(row_ids).clamp_min(0).to(row_ids.device)

    def _of_views(self, values: Tensor) -> Tensor:
        """Return the values of rows for each entry of the batch."""
        return values if self.views_per_row == 1 else values.repeat_interleave(self.views_per_row)

    def numbers_of_rows(self) -> dict[str, Tensor]:
        """Return how many averages are negative, their mean and their standard deviation (Eq. 5 and 6)."""
        if self.alm is None:
            return {}
        stats = self.alm.negative_stats()
        return {
            "lane/negative_share": stats.count / len(self.alm),
            "lane/alm_mean": stats.mean.nan_to_num(0.0),
            "lane/alm_std": stats.variance.nan_to_num(0.0).sqrt(),
        }

    def _contrastive_factor(self) -> float:
        left = 1.0
        if self.args.contrastive_schedule == "linear":
            left = 1 - self.state.global_step / max(self.state.max_steps, 1)
        return self.args.contrastive_weight * left

    def _contrastive_term(self, batch: ContrastiveBatch) -> Tensor:
        labels, aux_probs = batch.labels, batch.aux_probs
        if aux_probs is not None:
            aux_probs = aux_probs.repeat_interleave(len(labels) // len(aux_probs), dim=0)
            if not self.args.aux_contrastive_grad:
                aux_probs = aux_probs.detach()
        if batch.beliefs is not None and self.args.contrastive != "scl":
            labels = batch.beliefs.argmax(dim=1)  # the others know no pairs in between
        return contrastive_term(
            self,
            batch._replace(labels=labels, aux_probs=aux_probs),
            kind=self.args.contrastive,  # type: ignore[arg-type]  # "none" has no term
            temperature=self.args.temperature,
            across=self.args.gather_across_devices,
        )

    # ---- State ----

    def reset_rows(self) -> None:
        """Start the per-row state, the weights and the similarities anew."""
        super().reset_rows()
        # Those of an earlier run, which may have had others.
        self.alm = self.row_weights = self.similarity = None  # type: ignore[assignment]
        if self.args.is_neutral:
            return
        self.alm = AlmBuffer(len(self.train_dataset), device=self.state_device)
        self.row_weights = RowWeights(self.args, self.num_labels, len(self.train_dataset), self.state_device)
        by_class = self.args.similarity == "class" and self.args.auxiliary != "none"
        self.similarity = ClassSimilarity(self.num_labels, self.args.device) if by_class else None

    def stateful_parts(self) -> dict[str, Stateful]:
        """Return the parts of the training state that checkpoints must hold besides Trainer's own, by name."""
        parts: dict[str, Stateful | None] = {
            "alm": self.alm,
            "weights": self.row_weights,
            "similarity": self.similarity,
        }
        return {**super().stateful_parts(), **{name: part for name, part in parts.items() if part is not None}}

    def row_scores(self) -> RowScores:
        """Return how LANE judges the rows: by their average label-aware margin.

        Without label-aware margins it ranks by how many times more probability a label gets than the noise alone
        would give it (see [`noise_probability`]), which finds more wrong labels than plain margins.
        """
        if self.args.is_neutral:
            return super().row_scores()
        margins = self.alm.average()
        weights = self.row_weights.of_all(self.alm, self.row_statistics)
        is_plain = self.args.auxiliary == "none" or not self.args.label_aware
        scores = self.row_statistics.estimate_noise(self.num_labels).scores if is_plain else margins
        return RowScores(scores, weights, margins)
