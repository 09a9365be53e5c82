"""What is in a release, for people and for programs."""

import struct
from typing import Any

from fedtiny.model.artifact import Release, Tensor


def describe(release: Release) -> dict[str, Any]:
    """Layers, sizes, quantisation, trainable part, manifest and gate as JSON-able values."""
    manifest = release.manifest

    def quantisation(tensor: Tensor) -> dict[str, Any]:
        scales = struct.unpack_from(f"<{tensor.scale[1]}f", release.data, tensor.scale[0])
        zero = struct.unpack_from("<q", release.data, tensor.zero_point[0])[0]
        return {"scale_min": min(scales), "scale_max": max(scales), "zero_point": zero, "channels": len(scales)}

    layers = [
        {
            "layer": number,
            "inputs": layer.weights.shape[1],
            "outputs": layer.weights.shape[0],
            "parameters": layer.weights.shape[0] * (layer.weights.shape[1] + 1),
            "trainable": number in manifest.trainable,
            "weights": quantisation(layer.weights),
            "output": quantisation(layer.output),
        }
        for number, layer in enumerate(release.layers)
    ]
    # mean and deviation are long and say little to a reader
    shown = manifest.model_dump(exclude={"mean", "deviation"}, mode="json")
    return {"id": release.id, "size_bytes": len(release.data), "layers": layers, "manifest": shown}


def render(description: dict[str, Any]) -> str:
    """A description as text."""
    manifest = description["manifest"]
    gate, training = manifest["gate"], manifest["training"]
    lines = [
        f"release   {description['id']}",
        f"name      {manifest['name']}, {description['size_bytes']:,} bytes",
        f"signal    {manifest['sample_rate_hz']:g} Hz, channels {', '.join(manifest['channels'])}",
        f"window    {manifest['window']} samples, hop {manifest['hop']}, {manifest['bands']} bands a channel",
        "",
        "layer   inputs  outputs  parameters  weights int8             output int8",
    ]
    for layer in description["layers"]:
        weights, output = layer["weights"], layer["output"]
        kind = "per channel" if weights["channels"] > 1 else "per tensor"
        lines.append(
            f"{layer['layer']:>5} {layer['inputs']:>8} {layer['outputs']:>8} {layer['parameters']:>11}  "
            f"{kind}, scale {weights['scale_max']:.2g}  scale {output['scale_min']:.3g}, "
            f"zero point {output['zero_point']}{'  trainable head' if layer['trainable'] else ''}"
        )
    aucs = f"; AUC {gate['auc_float']:.4f} float, {gate['auc_int8']:.4f} int8" if gate["auc_int8"] is not None else ""
    lines += [
        "",
        f"training  {training['windows']} windows of {', '.join(training['machines'])}",
        f"          {training['epochs']} epochs, validation loss {training['validation_loss']:.4f}",
        f"gate      rank correlation int8 : float {gate['rank_correlation']:.4f} on {gate['windows']} windows{aucs}",
        f"made with {', '.join(f'{name} {version}' for name, version in manifest['made_with'].items())}",
    ]
    return "\n".join(lines)
