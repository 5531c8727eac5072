"""GRU4Rec in row form: what padding may not change, and that it learns an order SASRec's way."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.data.catalog import Catalog
from bench.data.windows import Windows
from bench.errors import BenchError
from bench.models.seqrec import sasrec
from bench.models.seqrec.gru4rec import GRU4Rec, Sizes, load, scorer
from bench.models.seqrec.rows import bce_row_loss, network_rows, save
from bench.models.seqrec.training import Recipe, fit

SIZES = Sizes(num_items=12, length=5, hidden=16, layers=2, dropout=0.0)
RECIPE = Recipe(learning_rate=0.02, weight_decay=0.0, batch=64, epochs=60, patience=60)


def network() -> GRU4Rec:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return SIZES.network().eval()


def counting(rows: int) -> Windows:
    """Histories that count upwards; the next number is the target."""
    starts = np.arange(rows) % 12
    histories = (starts[:, None] + np.arange(5)) % 12
    return Windows(
        users=np.arange(rows, dtype=np.int32),
        histories=histories.astype(np.int32),
        targets=((starts + 5) % 12).astype(np.int32),
    )


def test_padding_ids_change_nothing() -> None:
    model = network()
    items, lengths = network_rows(np.array([[3, 4, -1, -1, -1]], dtype=np.int32), SIZES)
    other = items.clone()
    other[:, 2:] = 7
    with torch.no_grad():
        assert torch.equal(model(items, lengths), model(other, lengths))
        alone, one = network_rows(np.array([[3, 4]], dtype=np.int32), SIZES)
        torch.testing.assert_close(model(items, lengths), model(alone, one))


def test_the_order_of_a_history_counts() -> None:
    model = network()
    with torch.no_grad():
        states = model(*network_rows(np.array([[1, 2, 3], [3, 2, 1]], dtype=np.int32), SIZES))
    assert not torch.allclose(states[0], states[1])


def test_loss_at_zero_scores_is_ln_2() -> None:
    assert bce_row_loss(torch.zeros(3), torch.zeros(3)).item() == pytest.approx(math.log(2))


def test_it_learns_to_count_and_its_files_score_alike(tmp_path: Path) -> None:
    rows = counting(240)
    fitted = fit(rows, rows, SIZES, RECIPE, seed=1)
    save(fitted.model, tmp_path)
    titles = tuple(map(str, range(12)))
    catalog = Catalog(ids=titles, titles=titles, categories=((),) * 12)
    scores = scorer(tmp_path, catalog)(rows.histories[:12])
    assert scores.argmax(axis=1).tolist() == rows.targets[:12].tolist()
    again = fit(rows, rows, SIZES, RECIPE, seed=1).model.state_dict()
    assert all(
        torch.equal(value, again[name]) for name, value in load(tmp_path).state_dict().items()
    )


def test_another_network_s_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="holds no GRU4Rec"):
        load(tmp_path)
    sizes = sasrec.Sizes(num_items=3, length=2, hidden=4, blocks=1, heads=1, dropout=0)
    save(sizes.network(), tmp_path)
    with pytest.raises(BenchError, match="holds no GRU4Rec"):
        load(tmp_path)


def test_sizes_out_of_range_are_refused() -> None:
    with pytest.raises(BenchError, match="GRU4Rec's layers is 0"):
        Sizes(num_items=3, length=2, hidden=4, layers=0, dropout=0)
