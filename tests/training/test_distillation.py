"""A student learns what its teacher says, whatever the order of the teacher's classes and its normalisation."""

from dataclasses import replace

import pytest
import torch

from shufflenet.checkpoints import Metadata, Preprocessing
from shufflenet.errors import UserError
from shufflenet.training import train
from shufflenet.training.distillation import Teacher, distillation_loss
from shufflenet.training.teachers import as_teacher, library_teacher


def test_the_loss_is_hinton_s():
    torch.manual_seed(0)
    student, teacher = torch.randn(5, 7), torch.randn(5, 7)
    p, q = (teacher / 3).softmax(1), (student / 3).softmax(1)
    expected = 9 * sum((p[i, k] * (p[i, k] / q[i, k]).log()).item() for i in range(5) for k in range(7)) / 5
    assert distillation_loss(student, teacher, 3.0).item() == pytest.approx(expected, rel=1e-5)
    assert distillation_loss(teacher, teacher, 3.0).item() == pytest.approx(0, abs=1e-6)


def test_a_teacher_answers_for_the_student_s_classes_and_inputs(make_net):
    net = make_net().eval()
    torch.nn.init.normal_(net.classifier.weight)
    student = replace(
        net.metadata,
        classes=tuple(reversed(net.metadata.classes)),
        preprocessing=replace(net.metadata.preprocessing, mean=(0.5,), std=(0.25,)),
    )
    pixels = torch.rand(3, 1, 28, 28)
    own = net.metadata.preprocessing
    expected = net((pixels - own.mean[0]) / own.std[0]).flip(1)
    found = Teacher(as_teacher(net), student)((pixels - 0.5) / 0.25)
    assert torch.allclose(found, expected, atol=1e-4)
    with pytest.raises(UserError, match="the teacher does not know unicorn"):
        Teacher(as_teacher(net), replace(student, classes=("unicorn", "coat")))


def test_a_student_comes_closer_to_its_teacher(make_net, make_recipe, training_set, test_set, tmp_path):
    """By the teacher alone, without labels: it ends nearer to it than it began."""
    teacher = train(
        make_recipe(iterations=40), training_set, test_set, make_net(), tmp_path / "teacher", trackers=()
    ).net
    inputs = (test_set.images.float() / 255 - 0.286) / 0.353

    def apart(net):
        with torch.no_grad():
            return distillation_loss(net.eval()(inputs), teacher.eval()(inputs), 4.0).item()

    recipe = make_recipe(iterations=40, distillation_share=1.0)
    start = make_net(stage_channels=(8, 16, 32))
    before = apart(start)
    student = train(recipe, training_set, test_set, start, tmp_path / "student", teacher=teacher, trackers=()).net
    assert apart(student) < 0.7 * before


def test_a_teacher_of_torchvision_answers_by_imagenet_s_synsets(monkeypatch):
    """Its own weights are not fetched: what is tested is which of its rows answer, and for which numbers."""
    import torchvision

    net = torchvision.models.squeezenet1_1().eval()
    monkeypatch.setattr(torchvision.models, "get_model", lambda name, weights: net)
    found = library_teacher("torchvision/squeezenet1_1")
    assert found.name == "torchvision/squeezenet1_1"
    student = Metadata(Preprocessing(mean=(0.5,) * 3, std=(0.25,) * 3), ("n01443537", "n01440764 tench"))
    pixels = torch.rand(2, 3, 64, 64)
    mean, std = (torch.tensor(values)[:, None, None] for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.inference_mode():
        expected = net((pixels - mean) / std)[:, [1, 0]]
        assert torch.allclose(Teacher(found, student)((pixels - 0.5) / 0.25), expected, atol=1e-4)


def test_a_teacher_of_timm_is_asked_in_its_own_normalisation(monkeypatch):
    timm = pytest.importorskip("timm")
    net = timm.create_model("mobilenetv3_small_050", num_classes=1000)
    net.pretrained_cfg = {**net.pretrained_cfg, "mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
    monkeypatch.setattr(timm, "create_model", lambda name, pretrained: net)
    found = library_teacher("timm/mobilenetv3_small_050.lamb_in1k")
    assert found.metadata.preprocessing.mean == (0.5, 0.5, 0.5)
    assert len(found.metadata.classes) == 1000
    assert found.metadata.classes[0] == "n01440764"


@pytest.mark.parametrize(("name", "near"), [("timm/resnet5O", "resnet50"), ("torchvision/resnet5O", "resnet50")])
def test_a_name_that_nobody_knows_is_answered_by_near_ones(name, near):
    pytest.importorskip("timm")
    with pytest.raises(UserError, match=f"has no trained network .*did you mean .*{near}"):
        library_teacher(name)


def test_weights_that_cannot_be_had_are_a_sentence(monkeypatch):
    import torchvision

    def offline(name, weights):
        raise OSError("no route to host")

    monkeypatch.setattr(torchvision.models, "get_model", offline)
    with pytest.raises(UserError, match="the weights of torchvision/resnet18 cannot be had: no route to host"):
        library_teacher("torchvision/resnet18")
