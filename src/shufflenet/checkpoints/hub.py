"""Checkpoints by name: a folder, one that ships with the package, or a repository on the Hugging Face Hub."""

import os
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard, ModelHubMixin, get_hf_file_metadata, hf_hub_url, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled
from huggingface_hub.utils import validate_repo_id

from shufflenet import pretrained
from shufflenet.checkpoints.card import model_card
from shufflenet.checkpoints.folder import CONFIG_NAME, WEIGHTS_NAME, load_folder, save
from shufflenet.errors import UserError
from shufflenet.nets.network import Network


class HubCheckpoint(ModelHubMixin):
    """A network as huggingface_hub's mixin moves it: the mixin transfers, `save` and `load_folder` write and read."""

    def __init__(self, net: Network) -> None:
        self.net = net

    def _save_pretrained(self, save_directory: Path) -> None:
        save(self.net, save_directory, overwrite=True)

    def generate_model_card(self, *, repo_id: str, license: str | None, **_: Any) -> ModelCard:
        return model_card(self.net, repo_id, license)

    @classmethod
    def _from_pretrained(cls, *, model_id: str, **download: Any) -> "HubCheckpoint":
        if Path(model_id).is_dir():
            return cls(load_folder(Path(model_id)))
        folder = snapshot_download(model_id, allow_patterns=[CONFIG_NAME, WEIGHTS_NAME], **download)
        return cls(load_folder(Path(folder)))


def load(folder_or_hub_id: str | os.PathLike[str], **download: Any) -> Network:
    """A trained network in eval mode, with what is known of it as `.metadata`.

    `folder_or_hub_id` is a folder that `save` wrote, the name of a checkpoint that ships with the package (`pretrained.names()`
    lists them), or a Hub repository, "user/repo"; they are tried in this order. `download` goes to huggingface_hub (`revision`, `token`,
    `cache_dir`, `local_files_only`, ...). Raises UserError for what is missing, damaged or of another kind.
    """
    name = os.fspath(folder_or_hub_id)
    folder = Path(name).expanduser()
    if folder.is_dir():
        return load_folder(folder)
    if folder.is_file():
        raise UserError(
            f"{name} is a file; give the folder that holds {CONFIG_NAME} and {WEIGHTS_NAME}, or `convert` it"
        )
    if name in pretrained.names():
        return load_folder(pretrained.FOLDER / name)
    if name.count("/") != 1:
        raise UserError(
            f"there is no folder {name}; give a checkpoint's folder, a Hub id (user/repo), {_shipped_names()}"
        )
    answers = True
    try:
        validate_repo_id(name)
        answers = download.get("local_files_only") or _hub_answers(name, download.get("token"))
        return HubCheckpoint.from_pretrained(name, **{"local_files_only": not answers, **download}).net
    except (HFValidationError, HfHubHTTPError, OfflineModeIsEnabled, OSError) as error:
        reason = f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
        if not answers:
            reason = "the Hub does not answer, and the cache has no copy"
        raise UserError(
            f"there is no folder {name}, and the Hub repository of that name cannot be had ({reason})"
        ) from error


def _hub_answers(repo_id: str, token: str | bool | None) -> bool:
    """Whether it does, asked once: huggingface_hub's downloads retry for half a minute, a warning each time."""
    try:
        get_hf_file_metadata(hf_hub_url(repo_id, CONFIG_NAME), token=token, timeout=5)
    except HfHubHTTPError:
        return True
    except Exception:  # what the HTTP library raises: huggingface_hub's releases use different ones
        return False
    return True


def _shipped_names() -> str:
    names = pretrained.names()
    return f"or one of {', '.join(names)}" if names else "or save one first"


def push_to_hub(net: Network, repo_id: str, *, license: str | None = None, **upload: Any) -> str:
    """Upload `net` with a model card to the Hub repository "user/repo", which is made if need be; returns the commit's address.

    `license` is the weights', as the Hub spells it ("mit", "cc-by-4.0"); without it the card says what the checkpoint has recorded.
    `upload` goes to huggingface_hub's `push_to_hub` (`private`, `token`, `branch`, `commit_message`, ...), which raises its own
    errors.
    """
    return HubCheckpoint(net).push_to_hub(repo_id, model_card_kwargs={"repo_id": repo_id, "license": license}, **upload)
