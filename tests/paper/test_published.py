"""The paper's tables beside the networks and beside each other: a figure that the paper prints twice has one value."""

from dataclasses import dataclass

import pytest

from shufflenet.nets import create, variants
from shufflenet.paper import published
from shufflenet.paper.counted import count
from shufflenet.paper.counted import counted as kept
from shufflenet.paper.tables import counted


@dataclass(frozen=True)
class PrintedCell:
    where: str
    variant: str
    multiply_adds: float
    error: float | None


def printed_cells() -> list[PrintedCell]:
    cells = [
        PrintedCell(f"table {number}, {row.label}", row.variant, row.multiply_adds, row.error)
        for number, blocks in published.BLOCKS.items()
        for block in blocks
        for row in block
    ]
    cells += [
        PrintedCell(f"table 1, g = {column.groups}", f"shufflenet_x1_0_g{column.groups}", column.multiply_adds, None)
        for column in published.TABLE1
    ]
    cells += [
        PrintedCell(f"table 8, {row.label}", row.variant, row.multiply_adds, row.error) for row in published.TABLE8
    ]
    return [*cells, PrintedCell("section 4.3", "pvanet", published.PVANET.multiply_adds, published.PVANET.error)]


CELLS = printed_cells()


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.where)
def test_every_printed_complexity_is_met(cell):
    """Within 4%; tests/nets/test_variants.py has the closer bounds. Table 2's classes, 140M and 13M, are round figures."""
    tolerance = {140: 8.4, 13: 1.5, 38: 1.6}.get(int(cell.multiply_adds), 0.04 * cell.multiply_adds)
    assert cell.variant in published.NOTES or abs(counted(cell.variant) / 1e6 - cell.multiply_adds) <= tolerance


def test_what_is_kept_is_what_the_networks_cost():
    assert kept() == count()
    assert list(kept()) == list(variants())


@pytest.mark.parametrize("cell", [cell for cell in CELLS if cell.error is not None], ids=lambda cell: cell.where)
def test_every_printed_error_is_the_variants(cell):
    assert published.printed(cell.variant).error == cell.error


@pytest.mark.parametrize("row", published.TABLE3, ids=lambda row: row.label)
def test_table_3_agrees_with_the_variants_and_with_itself(row):
    assert published.printed(row.variant).error == row.error_with
    assert published.printed(f"{row.variant}_noshuffle").error == row.error_without
    assert round(row.error_without - row.error_with, 1) == row.difference


@pytest.mark.parametrize("column", published.TABLE1, ids=lambda column: f"g{column.groups}")
def test_table_1_has_the_networks_channels(column):
    net = create(f"shufflenet_x1_0_g{column.groups}")
    assert tuple(net.feature_channels[f"stage{stage}"] for stage in (2, 3, 4)) == column.stage_channels
    assert published.printed(f"shufflenet_x1_0_g{column.groups}").multiply_adds == column.multiply_adds


def test_every_row_is_a_variant():
    names = {name for _, name, *_ in published._everything()}
    assert names <= set(variants())
    assert published.printed("xception_like_38m") == published.Printed(38, 45.1, (4,))
    assert published.printed("alexnet").tables == (6, 8)
    assert published.printed("shufflenet_x1_5_g8") == published.Printed()


def test_tables_7_and_8_have_the_papers_shape():
    assert [len(row.map_by_short_side) for row in published.TABLE7] == [len(published.SHORT_SIDES)] * 4
    assert all(tuple(row.milliseconds) == published.SIZES for row in published.TABLE8)
    # What section 4.4 makes of it: about 13 times AlexNet's speed at AlexNet's error, 18 in theory (19 by the table's own figures).
    alexnet, small = published.TABLE8[3], published.TABLE8[0]
    assert 12 < alexnet.milliseconds[224, 224] / small.milliseconds[224, 224] < 13
    assert 18 < alexnet.multiply_adds / small.multiply_adds < 19
