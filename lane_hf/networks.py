"""How a second network rides along: one module for Accelerate, a plain classifier for everybody else.

Accelerate wraps, synchronises, clips and optimises one module. `JointModel` is that module: it holds the user's
classifier and the auxiliary network and runs both in one forward. It exists only there; `trainer.model` stays the
classifier, so that saving, evaluating and pushing are Trainer's own code. (Two separately prepared modules would leave
the second one without gradient clipping, zeroing and synchronisation; DeepSpeed and FSDP2 refuse them.)
"""

import copy
import inspect
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .errors import InputError
from .heads import base_classifier, head_dropout, head_modules, hidden_size, reset_head

_OTHER_DECODERS = ("ctrl", "modernbert-decoder")  # decoders whose head, of every token, has another name than `score`


class OnTop(nn.Module):
    """A second network that does not read the batch but what the classifier makes of it.

    Attributes:
        needs_embeddings: whether it reads the classifier's embeddings.
    """

    needs_embeddings = False

    def read(self, outputs: dict[str, Tensor], stride: int) -> Tensor:
        """Return the second network's logits.

        Args:
            outputs: `logits` `[B, K]` of the classifier and, if needed, its `embeddings` `[B, d]`.
            stride: it sees one of so many entries of the batch.
        """
        raise NotImplementedError


class SharedHead(OnTop):
    """A linear auxiliary head on the classifier's own embedding, which it must not train: the embedding is detached.

    Args:
        hidden_size: size of the embedding.
        num_labels: number of labels.
        dropout: dropout probability on the embedding.

    Example:
        >>> SharedHead(8, 3)(torch.zeros(2, 8)).shape
        torch.Size([2, 3])
    """

    needs_embeddings = True

    def __init__(self, hidden_size: int, num_labels: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(hidden_size, num_labels)

    def forward(self, embeddings: Tensor) -> Tensor:
        """Return the logits `[B, K]` for embeddings `[B, d]`."""
        # A classifier loaded in half precision has such embeddings; the head itself learns in float32.
        own = embeddings.detach().to(self.linear.weight.dtype)
        logits: Tensor = self.linear(self.dropout(own))
        return logits

    def read(self, outputs: dict[str, Tensor], stride: int) -> Tensor:
        """Return the logits of the entries that it sees."""
        logits: Tensor = self(outputs["embeddings"][::stride])
        return logits


class JointModel(nn.Module):
    """The classifier and its auxiliary network in one forward.

    Args:
        model: the classifier.
        auxiliary: a classifier that takes the same inputs, an [`OnTop`] network such as [`SharedHead`], or None.
        needs_embeddings: whether the embeddings are wanted, for a contrastive term, even if no network reads them.
        auxiliary_stride: the auxiliary network sees one of so many entries of the batch: rows without their views.

    Example:
        >>> joint = JointModel(classifier, make_auxiliary(classifier, "full", num_labels=4, seed=1))  # doctest: +SKIP
    """

    def __init__(
        self, model: nn.Module, auxiliary: nn.Module | None, needs_embeddings: bool = False, auxiliary_stride: int = 1
    ) -> None:
        super().__init__()
        self.auxiliary_stride = auxiliary_stride
        self.model = model
        self.auxiliary = auxiliary
        self.ask_for_embeddings(needs_embeddings)

    def ask_for_embeddings(self, wanted: bool) -> None:
        """Say whether the embeddings are wanted; a network on top of the classifier needs them in any case."""
        self.needs_embeddings = wanted or getattr(self.auxiliary, "needs_embeddings", False)

    @property
    def _no_split_modules(self) -> list[str]:
        """Names of the layer classes of both networks; FSDP shards layer by layer with them."""
        networks = (base_classifier(network) for network in (self.model, self.auxiliary))
        return sorted({name for network in networks for name in getattr(network, "_no_split_modules", None) or ()})

    def forward(self, classifier_only: bool = False, **inputs: Any) -> Any:
        """Run both networks.

        Args:
            classifier_only: run the classifier alone and return what it returns.
            **inputs: the batch, without labels unless for the classifier alone.

        Returns:
            `logits` `[B, K]`; `embeddings` `[B, d]` if they are needed; `auxiliary_logits` `[B, K]` if there is an
            auxiliary network.
        """
        if classifier_only:
            return self.model(**inputs)
        if self.needs_embeddings:
            outputs = run_network(self.model, inputs, output_hidden_states=True)
            result = {"logits": outputs["logits"], "embeddings": embeddings(self.model, outputs, inputs)}
        else:
            outputs = run_network(self.model, inputs)
            result = {"logits": outputs["logits"]}
        if isinstance(self.auxiliary, OnTop):
            result["auxiliary_logits"] = self.auxiliary.read(result, self.auxiliary_stride)
        elif self.auxiliary is not None:
            own = {name: _every(value, self.auxiliary_stride) for name, value in inputs.items()}
            result["auxiliary_logits"] = run_network(self.auxiliary, own)["logits"]
        return result


class ClassifierOfJoint:
    """The classifier of a sharded [`JointModel`], for evaluation.

    Its own forward would not find the parameters that only a forward of the whole module gathers.

    Args:
        joint: both networks, as FSDP has wrapped them.
    """

    def __init__(self, joint: JointModel) -> None:
        self.joint = joint

    @property
    def training(self) -> bool:
        """Whether the classifier is in training mode."""
        return self.joint.model.training

    def __call__(self, **inputs: Any) -> Any:
        """Run the classifier alone."""
        return self.joint(classifier_only=True, **inputs)


def _every(value: Any, stride: int) -> Any:
    return value[::stride] if stride > 1 and isinstance(value, Tensor) and value.dim() else value


def run_network(network: nn.Module, inputs: dict[str, Any], **options: Any) -> Any:
    """Run a classifier without labels and return its outputs by name, whatever its configuration asks for."""
    config = getattr(base_classifier(network), "config", None)
    if not getattr(config, "return_dict", True):  # the configuration asks for tuples, which have no names
        options["return_dict"] = True
    outputs = network(**inputs, **options)
    # A module that is not of Transformers may know tuples only; without labels the scores come first.
    return {"logits": outputs[0]} if isinstance(outputs, tuple) else outputs


def offers_hidden_states(model: nn.Module) -> bool:
    """Return whether a classifier can be asked for hidden states, as all of Transformers' can.

    Example:
        >>> offers_hidden_states(torch.nn.Linear(2, 2))
        False
    """
    parameters = inspect.signature(base_classifier(model).forward).parameters
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    return takes_any or "output_hidden_states" in parameters


def embeddings(model: nn.Module, outputs: Any, inputs: dict[str, Any]) -> Tensor:
    """Return the embedding that the classifier's head reads: `[B, d]`.

    For encoders this is the first token of the last layer, for decoders the last token that is no padding, for
    encoder-decoders the last end-of-sequence token, for models that say so in their configuration the mean over the
    tokens (also where it is the tokens' logits that are averaged) or the last place. For pictures it is the class
    token, or without one the mean over the picture, after the final norm; for sound the mean over all frames.

    Raises:
        InputError: the model does not return hidden states.
    """
    states = outputs.get("decoder_hidden_states") or outputs.get("hidden_states")
    if not states:
        raise InputError(
            f"{type(model).__name__} returns no hidden states, which a shared auxiliary head and the contrastive term "
            "need: use auxiliary='full' or 'none' with contrastive='none'"
        )
    last: Tensor = states[-1]
    classifier = base_classifier(model)
    if last.dim() == 4 or (inputs.get("input_ids") is None and "pixel_values" in inputs):  # noqa: PLR2004
        return _image_embedding(classifier, last)
    if inputs.get("input_ids") is None and ("input_values" in inputs or "input_features" in inputs):
        return last.mean(dim=1)  # over those of padding too: the mask counts samples, not frames
    return _text_embedding(classifier, last, inputs.get("input_ids"), inputs.get("attention_mask"))


def _text_embedding(classifier: Any, last: Tensor, input_ids: Tensor | None, mask: Tensor | None) -> Tensor:
    config: Any = getattr(classifier, "config", None)
    if input_ids is not None and input_ids.shape[1] < last.shape[1]:
        # A prompt adapter puts embedded tokens in front, and then the model does not see the ids.
        mask = None if mask is None else F.pad(mask, (last.shape[1] - input_ids.shape[1], 0), value=1)
        input_ids = None
    has_score = hasattr(classifier, "score")  # decoder classifiers call their head so
    if getattr(config, "is_encoder_decoder", False) and input_ids is not None:
        if has_score:  # T5Gemma: the decoder reads the same tokens, shifted to the right by one
            return _last_marked(last, input_ids != config.pad_token_id, shift=1)
        return _last_marked(last, input_ids == config.eos_token_id)
    if has_score or getattr(config, "model_type", None) in _OTHER_DECODERS:
        text_config = config.get_text_config() if hasattr(config, "get_text_config") else config
        pad = getattr(text_config, "pad_token_id", None)
        return last[:, -1] if pad is None or input_ids is None else _last_marked(last, input_ids != pad)
    return _pooled(classifier, config, last, mask)


def _pooled(classifier: Any, config: Any, last: Tensor, mask: Tensor | None) -> Tensor:
    """Return what the head of an encoder reads."""
    summary = getattr(getattr(classifier, "sequence_summary", None), "summary_type", None)
    if summary in ("last", "cls_index"):  # XLNet pads on the left, and without an index takes the last place as well
        return last[:, -1]
    if summary == "mean":
        return last.mean(dim=1)  # over padding too, as the head does
    if getattr(config, "classifier_pooling", None) in ("mean", "late"):
        counted = torch.ones_like(last[..., :1]) if mask is None else mask[..., None].to(last.dtype)
        return (last * counted).sum(dim=1) / counted.sum(dim=1).clamp_min(1)
    return last[:, 0]


def _last_marked(last: Tensor, marked: Tensor, shift: int = 0) -> Tensor:
    """Return the rightmost marked token of each row, whichever side is padded, or a later one if there is one."""
    position = (torch.arange(marked.shape[1], device=last.device) * marked).argmax(dim=1)
    if shift:
        position = (position + shift).clamp_max(last.shape[1] - 1)
    return last[torch.arange(len(last), device=last.device), position]


def _image_embedding(classifier: Any, last: Tensor) -> Tensor:
    # Hidden states of image models are those before the final norm, unlike those of text models.
    body = getattr(classifier, "base_model", classifier)
    norm: nn.Module = getattr(body, "layernorm", nn.Identity())
    if last.dim() == 4:  # noqa: PLR2004 -- [B, d, height, width]
        pooled: Tensor = norm(last.mean(dim=(2, 3)))
        return pooled
    tokens: Tensor = norm(last)
    has_class_token = hasattr(getattr(body, "embeddings", None), "cls_token")
    return tokens[:, 0] if has_class_token else tokens.mean(dim=1)


def make_auxiliary(
    model: nn.Module, kind: str, num_labels: int, seed: int, share_frozen: bool = True
) -> nn.Module | None:
    """Build the auxiliary network of the given kind.

    Args:
        model: the classifier.
        kind: "full" for a copy with a fresh head, "shared" for a head on the classifier's embedding, "none".
        num_labels: number of labels.
        seed: seed of the fresh head. The global random state is left as it was.
        share_frozen: whether a copy holds the frozen parameters of the body in common with the classifier, so that the
            copy of a model with adapters costs little more than the adapters. Engines that shard parameters cannot.

    Raises:
        InputError: the model's hidden size or head cannot be found.

    Example:
        >>> make_auxiliary(classifier, "shared", num_labels=4, seed=1)  # doctest: +SKIP
    """
    if kind == "none":
        return None
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        if kind == "shared":
            return SharedHead(hidden_size(model), num_labels, head_dropout(model))
        common = _frozen_body(base_classifier(model)) if share_frozen else []
        auxiliary = copy.deepcopy(model, {id(parameter): parameter for parameter in common})
        reset_head(base_classifier(auxiliary), num_labels)
    return auxiliary


def check_auxiliary(model: nn.Module, auxiliary: nn.Module, num_labels: int) -> None:
    """Raise `InputError` unless `auxiliary` can stand beside `model`."""
    if base_classifier(auxiliary) is base_classifier(model):  # as when PEFT wraps one model twice
        raise InputError("auxiliary_model is the model itself: pass another network, or auxiliary='shared'")
    theirs = num_labels_of(auxiliary)
    if theirs != num_labels:
        raise InputError(f"auxiliary_model has {theirs} labels, the model has {num_labels}: they must be the same")
    ours, other = _vocabulary(model), _vocabulary(auxiliary)
    if ours is not None and other is not None and ours != other:
        raise InputError(
            f"auxiliary_model has a vocabulary of {other} tokens, the model one of {ours}: both networks get the same "
            "input_ids, so they need the same tokenizer"
        )


def checkpoint_activations(network: nn.Module, options: dict[str, Any] | None) -> None:
    """Let a network compute its activations again in the backward pass, as Trainer tells the classifier to.

    Args:
        network: the network; without such a switch it stays as it is.
        options: `gradient_checkpointing_kwargs` of the training arguments.
    """
    options = dict(options or {})
    own = {"every_n_layers": options.pop("every_n_layers", 1), "offload": options.pop("offload", False)}
    for name in ("activation_checkpointing_enable", "gradient_checkpointing_enable"):  # the second up to 5.22
        if hasattr(network, name):
            getattr(network, name)(options or None, **own)
            return


def num_labels_of(model: nn.Module) -> int:
    """Return the number of labels of a classifier.

    Raises:
        InputError: neither the model nor its configuration has `num_labels`.

    Example:
        >>> num_labels_of(AutoModelForSequenceClassification.from_pretrained("out"))  # doctest: +SKIP
        4
    """
    classifier = base_classifier(model)
    config = getattr(classifier, "config", None)
    number = getattr(config, "num_labels", None) or getattr(classifier, "num_labels", None)
    if number is None:
        raise InputError(f"{type(model).__name__} does not say how many labels it has: set model.config.num_labels")
    return int(number)


def _vocabulary(model: nn.Module) -> int | None:
    return getattr(getattr(base_classifier(model), "config", None), "vocab_size", None)


def _frozen_body(classifier: Any) -> list[nn.Parameter]:
    """Return the parameters of the pretrained body that are not trained."""
    if head_modules(classifier) is None:
        return []
    body = getattr(classifier, classifier.base_model_prefix)
    return [parameter for parameter in body.parameters() if not parameter.requires_grad]


class OwnState:
    """The state of an auxiliary network without what it holds in common with the classifier.

    Args:
        auxiliary: the auxiliary network.
        classifier: the classifier.
    """

    def __init__(self, auxiliary: nn.Module, classifier: nn.Module) -> None:
        self.auxiliary = auxiliary
        of_classifier = {id(parameter) for parameter in classifier.parameters()}
        named = auxiliary.named_parameters(remove_duplicate=False)
        self.common = {name for name, parameter in named if id(parameter) in of_classifier}

    def state_dict(self) -> dict[str, Tensor]:
        """Return the tensors that are the auxiliary network's own."""
        return {name: tensor for name, tensor in self.auxiliary.state_dict().items() if name not in self.common}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue from such a state."""
        known = {name: tensor for name, tensor in self.auxiliary.state_dict().items() if name in self.common}
        self.auxiliary.load_state_dict({**known, **state})
