from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from stage_runs import make_config

from bench.config.cards import Rows
from bench.plan.graph import Graph, build_graph, divide_into_units, find_missing
from bench.plan.stage import Stage
from bench.plan.trials import Trial


def stage(name: str, **inputs: Stage) -> Stage:
    return Stage(kind="draw", config=make_config(name=name), inputs=inputs)


def trial(name: str, **evaluations: Stage) -> Trial:
    return Trial(
        method=name,
        dataset="d",
        seed=0,
        model=None,
        rows=Rows(),
        data_seed=0,
        settings={},
        evaluations=evaluations,
    )


def two_trials() -> tuple[Graph, dict[str, Stage]]:
    data = stage("data")
    base = stage("base", data=data)
    one = stage("one", base=stage("tune", base=base))
    two = stage("two", base=base)
    named = {"data": data, "base": base, "one": one, "two": two, "tune": one.inputs["base"]}
    return build_graph([trial("a", final=one), trial("b", final=two)]), named


def test_equal_stages_are_one() -> None:
    graph = build_graph([trial("a", final=stage("x")), trial("b", final=stage("x"))])
    assert len(graph.stages) == 1
    assert len(next(iter(graph.needed_by.values()))) == 2


def test_what_one_trial_needs_alone_is_one_unit_and_shared_work_another() -> None:
    graph, named = two_trials()
    made = divide_into_units(graph, graph.stages)
    members = {frozenset(s.args["name"] for s in unit.stages) for unit in made}
    assert members == {
        frozenset({"data", "base"}),
        frozenset({"tune", "one"}),
        frozenset({"two"}),
    }
    own = next(unit for unit in made if len(unit.trials) == 1 and len(unit.stages) == 2)
    assert own.parents == {named["base"].key}


def test_nothing_is_missing_behind_a_stored_stage() -> None:
    graph, named = two_trials()
    stored = {named["one"].key, named["two"].key}
    assert find_missing(graph, lambda s: s.key in stored) == []
    stored = {named["one"].key}
    wanted = find_missing(graph, lambda s: s.key in stored)
    assert wanted == [named["data"].key, named["base"].key, named["two"].key]


@given(st.lists(st.lists(st.integers(0, 9), max_size=3), min_size=1, max_size=12), st.data())
def test_units_cover_the_missing_stages_once_and_depend_without_cycles(
    shape: list[list[int]], data: st.DataObject
) -> None:
    made: list[Stage] = []
    for number, parents in enumerate(shape):
        inputs = {f"in{p}": made[p % len(made)] for p in parents} if made else {}
        made.append(stage(str(number), **inputs))
    finals = data.draw(st.lists(st.sampled_from(made), min_size=1, max_size=4))
    graph = build_graph([trial(f"t{number}", final=final) for number, final in enumerate(finals)])
    made_units = divide_into_units(graph, graph.stages)
    keys = [s.key for unit in made_units for s in unit.stages]
    assert sorted(keys) == sorted(graph.stages)
    done: set[str] = set()
    waiting = list(made_units)
    while waiting:
        ready = [unit for unit in waiting if unit.parents <= done]
        assert ready, "units wait for one another"
        for unit in ready:
            for s in unit.stages:
                assert all(parent in done for parent in graph.inputs(s.key))
                done.add(s.key)
            waiting.remove(unit)
