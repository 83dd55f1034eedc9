"""The README that a network brings along to the Hub."""

from huggingface_hub import ModelCard, ModelCardData

from shufflenet.checkpoints.folder import metadata_of
from shufflenet.checkpoints.metadata import PICTURE_CHANNELS, describe
from shufflenet.nets import cost
from shufflenet.nets.network import Network

PAPER = "https://arxiv.org/abs/1707.01083"

TEMPLATE = """\
---
{data}
---

# {title}

{variant} of [ShuffleNet: An Extremely Efficient Convolutional Neural Network for Mobile Devices]({paper}), as a checkpoint of the
Python package `shufflenet`.

| | |
|---|---|
{rows}

## Use

```python
{snippet}
```
"""

SNIPPET = """\
import shufflenet
from shufflenet.data.pictures import open_picture
from shufflenet.data.transforms import evaluation_transform

net = shufflenet.load("{repo_id}")  # in eval mode
picture = evaluation_transform(net.metadata.preprocessing)(open_picture("photo.jpg"))
probabilities = net(picture[None]).softmax(dim=1)[0]
top = probabilities.argmax().item()
print(net.metadata.classes[top] if net.metadata.classes else top, f"{{probabilities[top]:.1%}}")"""

TENSOR_SNIPPET = """\
import torch
import shufflenet

net = shufflenet.load("{repo_id}")  # in eval mode
x = torch.zeros(1, {channels}, {height}, {width})  # yours, as the table above says
print(net(x).softmax(dim=1))"""


def model_card(net: Network, repo_id: str, license: str | None = None) -> ModelCard:
    """What the network is, costs and expects, and code that runs it. `repo_id` is the name that the code loads."""
    metadata = metadata_of(net)
    training = metadata.training
    size = metadata.preprocessing.size
    price = cost(net, size)
    license = license or training.get("license")
    snippet = SNIPPET if metadata.preprocessing.channel_order in PICTURE_CHANNELS else TENSOR_SNIPPET
    rows = {
        "variant": f"`{net.spec['name']}`",
        "multiply-adds": f"{price.multiply_adds / 1e6:.1f}M at {size[0]}×{size[1]}",
        "parameters": f"{price.parameters / 1e6:.2f}M",
        "top-1 error": f"{training['top1_error']:g}%" if "top1_error" in training else "not measured",
        "top-5 error": f"{training['top5_error']:g}%" if "top5_error" in training else "not measured",
        "data": training.get("dataset", "not recorded"),
        "classes": f"{net.spec['num_classes']}",
        "input": describe(metadata.preprocessing),
        "licence": license or "not stated",
    }
    # Among five classes or fewer the label is always found.
    if net.spec["num_classes"] <= 5:
        del rows["top-5 error"]
    if "source" in training:
        rows["converted from"] = training["source"]
    data = ModelCardData(
        library_name="shufflenet",
        pipeline_tag="image-classification",
        license=license or "unknown",
        tags=["shufflenet", "arxiv:1707.01083"],
    )
    return ModelCard(
        TEMPLATE.format(
            data=data.to_yaml(),
            title=repo_id.split("/")[-1],
            variant=f"`{net.spec['name']}`",
            paper=PAPER,
            rows="\n".join(f"| {name} | {value} |" for name, value in rows.items()),
            snippet=snippet.format(repo_id=repo_id, channels=net.spec["in_channels"], height=size[0], width=size[1]),
        )
    )
