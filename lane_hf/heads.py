"""The head of a classifier: what lies outside its pretrained body."""

import re
from typing import Any

import torch
from torch import nn

from .errors import InputError

_PEFT_COPY = re.compile(r"\.(original_module|modules_to_save\.[^.]+)")


def base_classifier(model: Any) -> Any:
    """Return the Transformers model under a PEFT wrapper, or the model itself."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def names_of_labels(model: Any, num_labels: int) -> list[str] | None:
    """Return the names of the labels, or None if the model's configuration does not name each by one of its own."""
    names = getattr(getattr(base_classifier(model), "config", None), "id2label", None)
    if not names or len(names) != num_labels:
        return None
    shown = [str(names[index]) for index in range(num_labels)]
    return shown if len(set(shown)) == num_labels else None


def head_dropout(model: nn.Module) -> float:
    """Return the dropout rate in front of the classifier's own head, 0.1 where its configuration does not say."""
    config = getattr(base_classifier(model), "config", None)
    names = ("classifier_dropout", "seq_classif_dropout", "hidden_dropout_prob")
    rates = (getattr(config, name, None) for name in names)
    return next((float(rate) for rate in rates if rate is not None), 0.1)


def hidden_size(model: nn.Module) -> int:
    """Return the size of the embedding that the head reads.

    Raises:
        InputError: neither the head nor the configuration says.
    """
    classifier = base_classifier(model)
    score = getattr(classifier, "score", None)
    if isinstance(score, nn.Module):  # decoder classifiers call their head so: its first layer reads the embedding
        for layer in score.modules():
            if isinstance(layer, nn.Linear):
                return layer.in_features  # not always the hidden size: OPT projects its last states
    config = getattr(classifier, "config", None)
    if config is not None:
        text_config = config.get_text_config() if hasattr(config, "get_text_config") else config
        for candidate in (text_config, config):
            if getattr(candidate, "hidden_size", None):
                return int(candidate.hidden_size)
            if getattr(candidate, "hidden_sizes", None):
                return int(candidate.hidden_sizes[-1])
    name = type(model).__name__
    raise InputError(
        f"the hidden size of {name} is unknown: a shared auxiliary head and a complex noise layer need "
        "config.hidden_size"
    )


def head_modules(classifier: Any) -> list[nn.Module] | None:
    """Return the modules outside the pretrained body, or None if the model does not say which that is."""
    prefix = getattr(classifier, "base_model_prefix", None)
    if not prefix or not hasattr(classifier, prefix):
        return None
    return [
        module
        for name, module in classifier.named_modules()
        if name and name != prefix and not name.startswith(f"{prefix}.")
    ]


def reset_head(classifier: Any, num_labels: int) -> None:
    """Give everything outside the pretrained body new random weights, if it is trained at all."""
    head = head_modules(classifier)
    if head is None:
        _reset_last_linear(classifier, num_labels)
        return
    # An adapter on a layer of the head has an initialisation of its own, which the copy has already.
    adapters = {part for module in head if hasattr(module, "base_layer") for part in module.modules()}
    for module in head:
        parameters = list(module.parameters(recurse=False))
        # A random layer that is never trained would only be noise.
        if module in adapters or not all(parameter.requires_grad for parameter in parameters):
            continue
        for parameter in parameters:
            # Transformers skips what it has initialised.
            parameter._is_hf_initialized = False  # type: ignore[attr-defined]
        with torch.no_grad():
            classifier._init_weights(module)  # the model family's own initialisation


def _reset_last_linear(classifier: nn.Module, num_labels: int) -> None:
    heads = [m for m in classifier.modules() if isinstance(m, nn.Linear) and m.out_features == num_labels]
    if not heads:
        raise InputError(
            f"the head of {type(classifier).__name__} cannot be found: pass auxiliary_model, or set auxiliary to "
            "'shared' or 'none'"
        )
    heads[-1].reset_parameters()


def logit_layers(model: Any, num_labels: int) -> list[nn.Linear]:
    """Return the layer that gives the logits; beside it, where PEFT keeps the head as it was, the layer there.

    Args:
        model: the classifier, bare or in a PEFT wrapper.
        num_labels: number of labels.

    Raises:
        InputError: there is none, or an adapter lies on it.
    """
    classifier = base_classifier(model)
    prefix = getattr(classifier, "base_model_prefix", None) or "-"
    layers = {}
    for name, module in classifier.named_modules():
        if name == prefix or name.startswith(f"{prefix}."):
            continue
        if hasattr(module, "base_layer"):
            raise InputError(f"an adapter lies on {name}, in the head: name the head in modules_to_save instead")
        if isinstance(module, nn.Linear) and module.out_features == num_labels:
            layers[name] = module
    if not layers:
        raise InputError(
            f"the head of {type(classifier).__name__} cannot be found: no linear layer with {num_labels} outputs lies "
            "outside its pretrained body"
        )
    # Of several layers of this size, one after the other, the last one gives the logits.
    last = _PEFT_COPY.sub("", [*layers][-1])
    return [layer for name, layer in layers.items() if _PEFT_COPY.sub("", name) == last]


def add_label(model: Any, num_labels: int) -> None:
    """Give a classifier one more label, with a fresh row of its head; the others stay as they are.

    Args:
        model: the classifier; it is changed.
        num_labels: number of labels that it has.

    Raises:
        InputError: its head cannot be found.

    Example:
        >>> add_label(model, 4)  # doctest: +SKIP
        >>> model.config.num_labels  # doctest: +SKIP
        5
    """
    classifier = base_classifier(model)
    for layer in logit_layers(model, num_labels):
        with torch.no_grad():
            fresh = nn.Linear(layer.in_features, 1, bias=layer.bias is not None)
            if hasattr(classifier, "_init_weights"):
                classifier._init_weights(fresh)
            for name, parameter in list(layer.named_parameters(recurse=False)):
                row = getattr(fresh, name).to(parameter)
                widened = nn.Parameter(torch.cat([parameter, row]), requires_grad=parameter.requires_grad)
                setattr(layer, name, widened)
        layer.out_features += 1
    if getattr(classifier, "config", None) is not None:
        classifier.config.num_labels = num_labels + 1
    if hasattr(classifier, "num_labels"):
        classifier.num_labels = num_labels + 1
