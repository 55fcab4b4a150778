"""Tiny random models on disk, sentences to read, and the paper's equations evaluated pair by pair, for all tests.

The environment is set before anything imports Hugging Face or wandb: no test may reach the network or a login.
"""

import os

os.environ["HF_HUB_OFFLINE"] = os.environ["HF_DATASETS_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["GOMP_SPINCOUNT"] = "3000"
os.environ["NETRC"] = os.devnull  # where wandb would find a login
if "LF_EXPERIMENTS_TEST_GPU" not in os.environ:  # the numbers that are expected are those of a processor
    os.environ["CUDA_VISIBLE_DEVICES"] = ""

import gc
import math
import shutil
import subprocess
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from attacks import Place, run
from PIL import Image
from transformers import BloomConfig, BloomForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from lf_experiments.config.schema import Dtype, ModelConfig
from lf_experiments.models.load import Reader, load_reader
from lf_experiments.models.nano.tokenizer import trained_tokenizer

for variable in [name for name in os.environ if name.startswith("WANDB_")]:
    del os.environ[variable]
torch.set_num_threads(1)

LAYERS = 3

PARALLEL = {
    "en": ["No.", "The child reads a book in the garden.", "After the rain my sister saw two white horses near the bridge."],
    "fr": ["Non.", "L'enfant lit un livre dans le jardin.", "Après la pluie ma sœur vit deux chevaux blancs près du pont."],
    "ar": ["لا.", "يقرأ الطفل كتابا في الحديقة.", "بعد المطر الطويل، رأت أختي حصانين أبيضين قرب الجسر القديم."],
    "zh": ["不。", "孩子在花园里看书。", "下了很久的雨之后，我姐姐在老桥附近看见了两匹白马。"],
    "hi": ["नहीं।", "बच्चा बगीचे में किताब पढ़ता है।", "लंबी बारिश के बाद मेरी बहन ने पुराने पुल के पास दो सफेद घोड़े देखे।"],
    "vi": ["Không.", "Đứa trẻ đọc sách trong vườn.", "Sau cơn mưa dài, chị tôi thấy hai con ngựa trắng gần cây cầu cũ."],
}  # fmt: skip
"""Three meanings in six languages: z-scores over six can exceed 2."""


LONGEST = ("test_survival.py", "test_findings.py", "test_processes.py", "test_memory.py", "test_plan.py", "test_launchers.py")
"""Files whose slow tests take minutes. They are begun first, so that all cores are done at about the same time."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first; whatever order the others are in stays."""
    items.sort(key=lambda item: item.path.name not in LONGEST)


def pytest_collection_finish() -> None:
    """Keep the collector from what was imported: it would look through it whenever a run lets its model go."""
    gc.freeze()


@pytest.fixture(scope="session")
def parallel() -> dict[str, list[str]]:
    """Sentences by language; the same position is the same meaning."""
    return PARALLEL


@pytest.fixture(scope="session")
def sentences() -> list[str]:
    """Sentences of one token to well over a hundred, in several scripts."""
    return ["x", *[text for texts in PARALLEL.values() for text in texts], "ha " * 40, "水", "é", " ".join(PARALLEL["hi"])]


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level tokenizer with a few dozen merges."""
    return trained_tokenizer([text for texts in PARALLEL.values() for text in texts], 320, 512)


@pytest.fixture(scope="session")
def awakened() -> Callable[[PreTrainedModel], PreTrainedModel]:
    """Gives a model weights so large that neurons differ, and biases that are not 0: as initialised, all are nearly alike."""

    def awaken(model: PreTrainedModel) -> PreTrainedModel:
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                noise = torch.randn(parameter.shape, generator=generator)
                is_norm = parameter.dim() == 1 and name.endswith("weight")
                parameter.copy_(parameter + 0.1 * noise if is_norm else 0.25 * noise)
        return model.eval()

    return awaken


@pytest.fixture(scope="session")
def model_folders(tmp_path_factory, tokenizer, awakened) -> dict[str, Path]:
    """A tiny BLOOM and a tiny LLaMA as Hugging Face folders. LLaMA's MLP is not four times as wide as the residual stream.

    Both have a dropout that would spoil every number if a model were left in training mode.
    """
    size = len(tokenizer)
    special = {"pad_token_id": tokenizer.pad_token_id, "bos_token_id": None, "eos_token_id": tokenizer.eos_token_id}
    models = {
        "bloom": BloomForCausalLM(
            BloomConfig(vocab_size=size, hidden_size=32, n_layer=LAYERS, n_head=4, hidden_dropout=0.5, **special)
        ),
        "llama": LlamaForCausalLM(
            LlamaConfig(
                vocab_size=size,
                hidden_size=32,
                intermediate_size=48,
                num_hidden_layers=LAYERS,
                num_attention_heads=4,
                num_key_value_heads=2,
                attention_dropout=0.5,
                **special,
            )
        ),
    }
    folders = {}
    for name, model in models.items():
        folders[name] = tmp_path_factory.mktemp(name)
        awakened(model).save_pretrained(folders[name])
        tokenizer.save_pretrained(folders[name])
    return folders


@pytest.fixture(scope="session", params=["bloom", "llama"])
def model_folder(request, model_folders) -> Path:
    """The folder of each tiny model in turn."""
    return model_folders[request.param]


@pytest.fixture(scope="session")
def grown_cache(tmp_path_factory) -> Path:
    """The cache in which the slow tests grow models, those of other processes too: each is grown once."""
    folder = tmp_path_factory.getbasetemp()
    return (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "grown"


@pytest.fixture(scope="session")
def load() -> Callable[..., Reader]:
    """Loads a model of its own for a test that changes it: `load(folder)`, `load(folder, Dtype.bfloat16)`."""

    def load_folder(folder: Path, dtype: Dtype = Dtype.float32) -> Reader:
        return load_reader(folder, ModelConfig(name=folder.name, path=str(folder), dtype=dtype))

    return load_folder


@pytest.fixture(scope="session")
def reader(model_folder, load) -> Reader:
    """Each tiny model in turn, loaded once for all tests: leave it as it is."""
    return load(model_folder)


@pytest.fixture
def blank_pictures(monkeypatch) -> None:
    """Pictures are saved without what is on them, for tests of what is around them: drawing takes most of their time."""

    def save_blank(_: object, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        for suffix in (".png", ".pdf"):
            Image.new("RGB", (8, 8), zlib.crc32(path.stem.encode()) % 2**24).save(path.with_suffix(suffix), "PNG")

    monkeypatch.setattr("lf_experiments.figures.save.save_picture", save_blank)


class PaperByHand:
    """Eq. (5) to (14) of the paper as they are printed, sum by sum and pair by pair, in float64 and without closed forms."""

    @staticmethod
    def mean_activation(h_TN) -> np.ndarray:
        """Eq. (5) for one sentence."""
        total_N = np.zeros(len(h_TN[0]))
        for h_N in h_TN:
            total_N += np.asarray(h_N, dtype=np.float64)
        return total_N / len(h_TN)

    @staticmethod
    def unit_vectors(h_LSN) -> np.ndarray:
        """Eq. (6): (S, K), the layers of a sentence side by side, scaled to length 1."""
        h_LSN = np.asarray(h_LSN, dtype=np.float64)
        rows = []
        for sentence in range(h_LSN.shape[1]):
            concatenated = [value for h_SN in h_LSN for value in h_SN[sentence]]
            norm = math.sqrt(sum(value * value for value in concatenated))
            rows.append([value / norm for value in concatenated])
        return np.array(rows)

    @staticmethod
    def similarity(a_SK) -> np.ndarray:
        """Eq. (7)."""
        return np.array([[sum(x * y for x, y in zip(a, b, strict=True)) for b in a_SK.tolist()] for a in a_SK.tolist()])

    @staticmethod
    def lrds(similarity_SS, languages, meanings) -> float:
        """Eq. (8), over ordered pairs."""
        within, across = [], []
        for i in range(len(languages)):
            for j in range(len(languages)):
                if meanings[i] != meanings[j]:
                    (within if languages[i] == languages[j] else across).append(float(similarity_SS[i][j]))
        return sum(within) / len(within) - sum(across) / len(across)

    @staticmethod
    def sads(similarity_SS, languages, meanings) -> float:
        """Eq. (9), over ordered pairs."""
        aligned, unaligned = [], []
        for i in range(len(languages)):
            for j in range(len(languages)):
                if languages[i] != languages[j]:
                    (aligned if meanings[i] == meanings[j] else unaligned).append(float(similarity_SS[i][j]))
        return sum(aligned) / len(aligned) - sum(unaligned) / len(unaligned)

    @staticmethod
    def average_similarity(similarity_RR) -> float:
        """Eq. (10), first line."""
        n = len(similarity_RR)
        return 2 / (n * (n - 1)) * sum(float(similarity_RR[i][j]) for i in range(n - 1) for j in range(i + 1, n))

    @staticmethod
    def contribution_scores(a_RK) -> np.ndarray:
        """Eq. (11), for each neuron."""
        n = len(a_RK)
        total_K = np.zeros(len(a_RK[0]))
        for i in range(n - 1):
            for j in range(i + 1, n):
                total_K += np.asarray(a_RK[i], dtype=np.float64) * np.asarray(a_RK[j], dtype=np.float64)
        return total_K

    @staticmethod
    def z_scores(score_GK) -> np.ndarray:
        """Eq. (12) to (14), neuron by neuron; 0 where the deviation is 0."""
        columns = []
        for scores in np.asarray(score_GK, dtype=np.float64).T.tolist():
            mu = sum(scores) / len(scores)
            sigma = math.sqrt(sum((score - mu) ** 2 for score in scores) / len(scores))
            columns.append([(score - mu) / sigma if sigma else 0.0 for score in scores])
        return np.array(columns).T

    @classmethod
    def scores_and_z(cls, h_LSN, languages) -> tuple[np.ndarray, np.ndarray]:
        """Eq. (6), (11) and (12) from mean activations: two arrays (G, L, N)."""
        layers, _, neurons = np.shape(h_LSN)
        a_SK = cls.unit_vectors(h_LSN)
        groups = [[a for a, of in zip(a_SK, languages, strict=True) if of == group] for group in sorted(set(languages))]
        score_GK = np.array([cls.contribution_scores(group) for group in groups])
        shape = (len(groups), layers, neurons)
        return score_GK.reshape(shape), cls.z_scores(score_GK).reshape(shape)


Mount = Callable[..., None]


@pytest.fixture
def mount() -> Iterator[Mount]:
    """`mount(folder, *arguments)` mounts something as `folder` until the test ends, which is skipped where nobody may."""
    folders: list[Path] = []

    def mount_as(folder: Path, *arguments: str) -> None:
        folder.mkdir(exist_ok=True)
        found = subprocess.run(["mount", *arguments, str(folder)], capture_output=True, text=True)
        if found.returncode:
            pytest.skip(f"mounting is not permitted here: {found.stderr.strip()}")
        folders.append(folder)

    yield mount_as
    for folder in folders:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def small_disk(tmp_path: Path, mount: Mount) -> Path:
    """A folder on a disk of 64 KiB."""
    mount(tmp_path / "small", "-t", "tmpfs", "-o", "size=64k", "tmpfs")
    return tmp_path / "small"


@pytest.fixture
def read_only_folder(tmp_path: Path, mount: Mount) -> Path:
    """An empty folder that nobody can write to."""
    mount(tmp_path / "read only", "-t", "tmpfs", "-o", "size=1m,ro", "tmpfs")
    return tmp_path / "read only"


@pytest.fixture(scope="session")
def by_hand() -> type[PaperByHand]:
    """The oracle for everything computed in closed form, in batches or layer by layer."""
    return PaperByHand


@pytest.fixture(scope="session")
def pristine(tmp_path_factory, model_folders: dict[str, Path], parallel: dict[str, list[str]]) -> Path:
    """A place that nobody has touched, for copies."""
    place = Place(tmp_path_factory.mktemp("pristine"))
    shutil.copytree(model_folders["llama"], place.model)
    place.data.mkdir()
    for language, sentences in parallel.items():
        (place.data / f"{language}.txt").write_text("\n".join(sentences), encoding="utf-8")
    return place.folder


@pytest.fixture(scope="session")
def untouched(pristine: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[float, float]:
    """LRDS and SADS of an untouched run."""
    place = Place(shutil.copytree(pristine, tmp_path_factory.mktemp("untouched") / "place"))
    return run(place).scores


@pytest.fixture
def place(pristine: Path, tmp_path: Path) -> Place:
    return Place(shutil.copytree(pristine, tmp_path / "place"))
