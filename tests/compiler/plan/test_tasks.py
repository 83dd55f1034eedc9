"""Steps as tasks: all of the work once, in even parts for two threads; what is small stays whole."""

from hypothesis import given
from hypothesis import strategies as st

from shufflenet.compiler.plan.blocking import cut_pixels, even_spans
from shufflenet.compiler.plan.machines import USUAL
from shufflenet.compiler.plan.tasks import BLOCK_ROWS, MOST_TASKS, TILE_BYTES, cut_product, deal, worth

work = st.integers(0, 10**9)


@given(count=st.integers(1, 5000), pieces=st.integers(1, 40))
def test_pieces_are_all_pixels_in_their_order(count, pieces):
    done, sizes = 0, []
    for first, end, size in even_spans(count, pieces):
        if size:
            assert first == done
            sizes += [size] * ((end - first) // size)
            done += size * ((end - first) // size)
            assert done == end
    assert done == count
    assert len(sizes) <= pieces
    assert all(size % 16 == 0 for size in sizes[:-1])


@given(count=st.integers(1, 5000), pieces=st.integers(1, 40))
def test_two_threads_get_about_as_many_pixels(count, pieces):
    sizes = [size for first, end, size in even_spans(count, 2 * pieces) if size for _ in range(first, end, size)]
    vector, tile = 16, 48
    most = tile if count >= 8 * tile * 2 * pieces else vector
    if len(sizes) == 2 * pieces:
        assert abs(sum(sizes[:pieces]) - sum(sizes[pieces:])) <= most * (pieces + 1)


@given(rows=st.integers(1, 200), pixels=st.integers(1, 900), most=st.integers(48, 1000), pieces=st.integers(1, 9))
def test_chunks_are_at_least_as_many_as_asked_and_no_larger_than_allowed(rows, pixels, most, pieces):
    chunks = cut_pixels(rows, pixels, most, pieces=min(pieces, max(1, pixels // 48)))
    assert sum(chunk.pieces * chunk.count for chunk in chunks) == pixels
    assert sum(chunk.pieces for chunk in chunks) >= min(pieces, max(1, pixels // 48))
    if pieces <= -(-pixels // most):
        assert all(chunk.count <= most for chunk in chunks)
    assert len({chunk.blocks[0].rows for chunk in chunks}) == 1  # weights are packed for one


@given(units=st.integers(1, 500), multiply_adds=work, moved=work, least=st.integers(1, 5))
def test_tasks_are_all_units(units, multiply_adds, moved, least):
    tasks = deal(USUAL, units, multiply_adds, moved, least)
    if tasks is None:
        assert worth(USUAL, multiply_adds, moved) == 1 or units < 2 * least
    else:
        assert least <= tasks.each <= units
        assert (tasks.count - 1) * tasks.each < units <= tasks.count * tasks.each
        assert tasks.count > 1


def test_what_is_small_stays_on_one_thread():
    assert deal(USUAL, 64, 10_000, 4_000) is None
    assert cut_product(3, 60, 4 * 784, worth(USUAL, 10_000, 4_000)) == (1, 1)
    assert worth(USUAL, 10**9, 0) == worth(USUAL, 0, 10**9) == MOST_TASKS


@given(
    groups=st.integers(1, 8), rows=st.integers(1, 400), pixels=st.integers(1, 4000), wanted=st.integers(1, MOST_TASKS)
)
def test_a_product_is_cut_across_its_pixels_or_its_rows(groups, rows, pixels, wanted):
    down, across = cut_product(groups, rows, 4 * pixels, wanted)
    assert rows % down == 0
    assert min(down, across) == 1
    assert down == 1 or rows // down >= BLOCK_ROWS
    assert across == 1 or 4 * pixels // across >= TILE_BYTES
