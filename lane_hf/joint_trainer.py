"""JointTrainer: a RowTrainer that trains a second network beside the classifier.

Accelerate wraps, synchronises, clips, optimises and shards one module: the [`JointModel`] of both networks. It takes
the place of `trainer.model` only while that is prepared; everybody else, from the user to the code that saves,
evaluates and pushes, sees the classifier alone.

Sharded by FSDP2 the two cannot be told apart so simply: parameters that belong to no layer of their own are gathered
when the joint module runs. There, evaluation goes through the joint module, which is told to run the classifier only,
and checkpoints hold both networks in the engine's own format beside the plain checkpoint.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn

from .errors import InputError
from .networks import ClassifierOfJoint, JointModel, OwnState
from .resumable_trainer import Stateful
from .row_trainer import RowTrainer
from .step_rows import StepRows


class JointTrainer(RowTrainer):
    """Base of the trainers with two networks, or with one whose embeddings are needed.

    They say what the second network is in [`make_second_network`], and use both in `training_loss`. Arguments are
    those of [`RowTrainer`].

    Attributes:
        auxiliary_model: the second network; None before training, and where there is none.

    Raises:
        InputError: an engine that is not supported is configured, with the setting that is.

    Example:
        >>> class TwoHeads(JointTrainer):  # doctest: +SKIP
        ...     def make_second_network(self, classifier):
        ...         return make_auxiliary(classifier, "shared", self.num_labels, seed=1)
    """

    model: Any
    needs_embeddings: bool = False
    """Whether `training_loss` needs the embeddings that the classifier's head reads."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.auxiliary_model: nn.Module | None = None
        self._classifier_of_auxiliary: nn.Module | None = None
        self._last_kind: str | None = None
        self._given_optimizer: Any = self.optimizer
        if self.has_two_networks:
            self._check_engine()

    @property
    def has_two_networks(self) -> bool:
        """Whether there is anything but plain fine-tuning to do with these arguments."""
        return True

    @property
    def auxiliary_stride(self) -> int:
        """The second network sees one of so many entries of a batch: here the rows without their views."""
        return self.views_per_row

    @property
    def _stride_in_module(self) -> int:
        # DataParallel cuts a batch anywhere, also between a row and its views: a piece may then begin with a view.
        # There the second network sees all entries, and those that it should not have seen are left out later.
        return 1 if self.args.n_gpu > 1 else self.auxiliary_stride

    @property
    def kind_of_second(self) -> str:
        """What the second network is by these arguments; in a run with another kind than the last it starts anew."""
        return ""

    def make_second_network(self, classifier: nn.Module) -> nn.Module | None:
        """Return a fresh second network for a classifier, or None; called once for each classifier."""
        return None

    def make_joint(self, classifier: nn.Module) -> JointModel:
        """Return the classifier and the second network as one module, on the device; called when a run starts."""
        if not any(parameter.requires_grad for parameter in classifier.parameters()):
            # The second network alone would learn, and nobody would notice.
            raise InputError(
                "no parameter of the model is trainable (requires_grad): load an adapter with is_trainable=True, or "
                "unfreeze what shall be trained"
            )
        if self._classifier_of_auxiliary is not classifier:  # a first run, or model_init gave a new classifier
            self.auxiliary_model = self.make_second_network(classifier)
            self._classifier_of_auxiliary = classifier
        if self.auxiliary_model is not None and self.place_model_on_device:
            self.auxiliary_model.to(self.args.device)
        return self.joint_of(classifier)

    def joint_of(self, classifier: nn.Module) -> JointModel:
        """Return the module that runs the classifier and [`auxiliary_model`] together."""
        return JointModel(classifier, self.auxiliary_model, self.needs_embeddings, self._stride_in_module)

    def _check_engine(self) -> None:
        if self.is_deepspeed_enabled:
            raise InputError(
                "DeepSpeed is not supported: Transformers starts it on accelerators only, where it has not been "
                "tested with two networks. Shard with FSDP2 instead (examples/accelerate/fsdp2.yaml), or use plain "
                "data parallelism (examples/accelerate/ddp.yaml)"
            )
        if not self.is_fsdp_enabled:
            return
        if self.accelerator.state.fsdp_plugin.fsdp_version != 2:  # noqa: PLR2004 -- the name of the engine
            raise InputError(
                "FSDP version 1 is not supported: it flattens the parameters of both networks into one. Set "
                "fsdp_version to 2 (examples/accelerate/fsdp2.yaml)"
            )
        if self.args.auto_find_batch_size:
            raise InputError(
                "auto_find_batch_size cannot be used with FSDP: sharded networks cannot be put together again to "
                "start anew. Set per_device_train_batch_size by hand"
            )

    def create_scheduler(self, *args: Any, **kwargs: Any) -> Any:
        """Create Trainer's scheduler, once it is sure that the optimizer trains both networks."""
        if self.auxiliary_model is not None and not self.is_fsdp_enabled:
            trained = {id(parameter) for group in self.optimizer.param_groups for parameter in group["params"]}
            if any(each.requires_grad and id(each) not in trained for each in self.auxiliary_model.parameters()):
                raise InputError(
                    "the optimizer that was given does not hold the parameters of the second network, which would "
                    "never learn: leave `optimizers` out and set `optim`, or pass optimizer_cls_and_kwargs"
                )
        return super().create_scheduler(*args, **kwargs)

    # ---- Two networks for Accelerate, one for everybody else ----

    @property
    def joint_model(self) -> Any:
        """Both networks as Accelerate has them, without wrappers: a kind of `JointModel`, or None before training."""
        joint = self.accelerator.unwrap_model(self.model_wrapped, keep_torch_compile=False)
        return joint if isinstance(joint, JointModel) else None

    def _forget_networks_of_another_kind(self) -> None:
        """Drop what is left of a run with other arguments, as in a search: it would be trained, saved or missed."""
        kind = self.kind_of_second if self.has_two_networks else "none"
        is_another = self._last_kind not in (None, kind)
        if self.joint_model is not None and (is_another or not self.has_two_networks):
            if self.is_fsdp_enabled:
                raise InputError(
                    "FSDP has sharded the networks of the last run together, and these arguments name others: make a "
                    "new trainer, or pass model_init"
                )
            self.model_wrapped = self.model
        if is_another:
            self.auxiliary_model = self._classifier_of_auxiliary = None
            self.optimizer = self._given_optimizer
        self._last_kind = kind

    def _prepare_for_training(self, *args: Any, **kwargs: Any) -> Any:
        self._forget_networks_of_another_kind()
        if not self.has_two_networks:
            return super()._prepare_for_training(*args, **kwargs)
        classifier, joint = self.model, self.joint_model
        if joint is None or joint.model is not classifier:
            joint = self.model_wrapped = self.make_joint(classifier)
        else:  # train() is called again, and both networks are wrapped already
            joint.ask_for_embeddings(self.needs_embeddings)
            joint.auxiliary_stride = self._stride_in_module
        with self._model_is(joint):
            return super()._prepare_for_training(*args, **kwargs)

    @contextmanager
    def _model_is(self, joint: nn.Module) -> Iterator[None]:
        classifier, self.model = self.model, joint
        try:
            yield
        finally:
            self.model = self.callback_handler.model = classifier

    @contextmanager
    def _joint_if_sharded(self) -> Iterator[None]:
        joint = self.joint_model
        if self.is_fsdp_enabled and joint is not None:
            with self._model_is(joint):
                yield
        else:
            yield

    def prediction_step(self, model: nn.Module, *args: Any, **kwargs: Any) -> Any:
        """Evaluate the classifier alone, in the precision that it was trained in."""
        joint = self.joint_model
        if self.is_fsdp_enabled and joint is not None:
            model = cast(nn.Module, ClassifierOfJoint(joint))
        # Accelerate patches autocast into the module that it prepares, which is the joint one.
        with self.accelerator.autocast():
            loss, logits, labels = super().prediction_step(model, *args, **kwargs)
        return loss, _to_float32(logits), labels

    def gather_with_gradient(self, values: Tensor, rows: StepRows) -> Tensor:
        """Gather `[B, ...]` values of all processes, those of this process with their gradient.

        Args:
            values: one entry for each entry of the batch.
            rows: which rows they are.
        """
        everyone = self.gather_entries(values, rows)
        start = self.args.process_index * rows.size
        # A process that has fillers only takes part with a gradient of zero.
        own = values[: rows.own] if rows.own else values.sum() * 0 + everyone[:0]
        return torch.cat([everyone[:start], own, everyone[start + rows.own :]])

    # ---- State in checkpoints ----

    def stateful_parts(self) -> dict[str, Stateful]:
        """Return the parts of the training state that checkpoints must hold besides Trainer's own, by name."""
        parts = super().stateful_parts()
        # Sharded, the second network lies in the checkpoint of the engine, with the classifier.
        if self.auxiliary_model is not None and not self.is_fsdp_enabled:
            parts["auxiliary"] = OwnState(self.auxiliary_model, self.model)
        return parts

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        with self._joint_if_sharded():
            super()._save_optimizer_and_scheduler(output_dir)

    def _load_best_model(self) -> None:
        with self._joint_if_sharded():
            super()._load_best_model()

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Save the classifier as an ordinary checkpoint, also where FSDP saves shards only."""
        with self._average_shown():
            super().save_model(output_dir, _internal_call)
            plugin: Any = getattr(self.accelerator.state, "fsdp_plugin", None)
            if self.is_fsdp_enabled and "FULL_STATE_DICT" not in str(plugin.state_dict_type):
                self._save(output_dir, state_dict=self.accelerator.get_state_dict(self.model))


def _to_float32(values: Any) -> Any:
    if isinstance(values, Tensor):
        return values.float() if values.is_floating_point() else values
    return tuple(_to_float32(each) for each in values) if isinstance(values, (tuple, list)) else values
