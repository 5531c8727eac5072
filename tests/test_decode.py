"""Decoding: equal to one prompt at a time, to transformers, to brute force; draws; endings."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from tiny_writer import END, WORDS, Table, writer_model, writer_tokenizer
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from bench.errors import BenchError
from bench.models.lm.decode.beam_search import beam_search
from bench.models.lm.decode.decoding import (
    Generated,
    cut_after_quotes,
    generate_texts,
    sample_texts,
    split_into_batches,
    title_streams,
)
from bench.models.lm.decode.generation_state import (
    CPU_CACHE_TOKENS,
    TOKENS_PER_TEXT,
    GenerationState,
    count_cache_tokens,
    find_endings,
)
from bench.plan.language_stages import GenerationConfig

pytestmark = pytest.mark.usefixtures("one_thread")

MODEL, TOKENIZER = writer_model(), writer_tokenizer()
rng = np.random.default_rng(0)
PROMPTS = [[0, *rng.integers(4, 16, size=length).tolist()] for length in rng.integers(1, 40, 24)]
GREEDY = GenerationConfig(max_new_tokens=12)


def generate_titles(
    model: nn.Module,
    tokenizer: Any,
    prompts: list[list[int]],
    config: GenerationConfig,
    divisor: int = 1,
) -> list[Generated]:
    streams = title_streams(len(prompts), config)
    return generate_texts(
        model, tokenizer, prompts, config, streams=streams, titles=True, divisor=divisor
    )


def decode(
    prompts: list[list[int]] = PROMPTS, config: GenerationConfig = GREEDY, divisor: int = 1
) -> list[Generated]:
    return generate_titles(MODEL, TOKENIZER, prompts, config, divisor)


def texts(written: list[Generated]) -> list[tuple[str, ...]]:
    return [row.texts for row in written]


def assert_same(ours: list[Generated], others: list[Generated]) -> None:
    assert texts(ours) == texts(others)
    for row, other in zip(ours, others, strict=True):
        assert row.scores == pytest.approx(other.scores, abs=1e-4)
        assert row.num_tokens == other.num_tokens


def next_logits(ids: list[int], model: nn.Module = MODEL) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=torch.tensor([ids])).logits[0, -1]


# --- equal to one prompt at a time ---------------------------------------------------------------


def test_padded_rows_have_the_logits_of_rows_alone() -> None:
    state = GenerationState(MODEL, PROMPTS[:8])
    written = [list(prompt) for prompt in PROMPTS[:8]]
    rows = list(range(8))
    with torch.no_grad():
        for step in range(6):
            expected = torch.stack([next_logits(written[row]) for row in rows])
            assert torch.allclose(state.logits, expected, atol=1e-4)
            if step == 3:  # in another order, one twice, the others gone
                rows = [5, 0, 0, 3]
                state.take(torch.tensor(rows))
            tokens = torch.arange(len(rows)) + 4 + step
            for row, token in zip(rows, tokens.tolist(), strict=True):
                if step < 3:
                    written[row].append(token)
            if step >= 3:
                tokens = torch.full((len(rows),), 7)
                for row in set(rows):
                    written[row].append(7)
            state.append(tokens)


@pytest.mark.parametrize(
    "config",
    [
        GREEDY,
        GenerationConfig(max_new_tokens=12, num_beams=3, num_return_sequences=3),
        GenerationConfig(max_new_tokens=12, temperature=1.0, num_return_sequences=3, seed=4),
    ],
    ids=["greedy", "beams", "drawn"],
)
def test_batches_change_nothing(config: GenerationConfig) -> None:
    together = decode(config=config)
    assert len({row.num_tokens for row in together}) > 3, "texts should end at different times"
    assert_same(together, decode(config=config, divisor=CPU_CACHE_TOKENS))
    assert_same(together, decode(config=config, divisor=CPU_CACHE_TOKENS // 700))


@pytest.mark.parametrize(
    "config", [GREEDY, GenerationConfig(max_new_tokens=9, num_beams=4, num_return_sequences=2)]
)
def test_the_order_of_prompts_changes_nothing(config: GenerationConfig) -> None:
    assert_same(decode(PROMPTS[::-1], config), decode(PROMPTS, config)[::-1])
    alone = [decode([prompt], config)[0] for prompt in PROMPTS[:10]]
    assert_same(decode(PROMPTS[:10], config), alone)


@given(
    st.lists(st.integers(1, 600), max_size=40),
    st.integers(1, 6000),
    st.integers(1, 4),
    st.booleans(),
)
def test_batches_hold_every_prompt_once_and_keep_to_the_budget(
    lengths: list[int], budget: int, beams: int, shared: bool
) -> None:
    config = GenerationConfig(max_new_tokens=5, num_beams=beams)
    parts = list(split_into_batches(lengths, config, budget, shared=shared))
    assert sorted(row for part in parts for row in part) == list(range(len(lengths)))
    for part in parts:
        longest = max(lengths[row] for row in part)
        places = len(part) * (longest * (1 if shared else beams) + 5 * beams)
        assert len(part) == 1 or max(places, len(part) * beams * TOKENS_PER_TEXT) <= budget


def test_texts_that_share_a_prompt_leave_room_for_more() -> None:
    config = GenerationConfig(max_new_tokens=50, temperature=1.0, num_return_sequences=10)
    sizes = [
        len(next(split_into_batches([1500] * 20, config, 2**14, shared=one)))
        for one in (True, False)
    ]
    assert sizes == [8, 1]  # of 1,500 + 10 x 50 places, and of 10 x 1,550


# --- equal to transformers -----------------------------------------------------------------------


def generated(model: LlamaForCausalLM, prompt: list[int], **settings: object) -> list[list[int]]:
    """What transformers appends to one prompt, up to the end-of-sequence token."""
    with torch.no_grad():
        out = model.generate(
            torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt)), **settings
        )
    found = []
    for ids in out[:, len(prompt) :].tolist():
        found.append(ids[: ids.index(1)] if 1 in ids else ids)
    return found


def test_greedy_equals_transformers_up_to_the_closing_quote() -> None:
    closed = 0
    for prompt, row in zip(PROMPTS, decode(), strict=True):
        [ids] = generated(MODEL, prompt, do_sample=False, max_new_tokens=12)
        text = TOKENIZER.decode(ids, skip_special_tokens=True)
        assert row.texts == (cut_after_quotes(text),)
        closed += row.texts[0].count('"') == 2
        assert row.num_tokens[0] <= len(ids) + 1
    assert 2 < closed < len(PROMPTS)


def test_a_beam_search_equals_transformers_where_only_the_end_token_ends() -> None:
    words = WORDS[:16]  # none has a quote
    tokenizer = writer_tokenizer(words)
    model = writer_model(len(words), seed=3)
    config = GenerationConfig(max_new_tokens=7, num_beams=5, num_return_sequences=5)
    ended = 0
    for prompt, row in zip(
        PROMPTS[:12], generate_titles(model, tokenizer, PROMPTS[:12], config), strict=True
    ):
        theirs = generated(
            model,
            prompt,
            do_sample=False,
            max_new_tokens=7,
            num_beams=5,
            num_return_sequences=5,
            length_penalty=0.0,
        )
        decoded = tokenizer.batch_decode(theirs, skip_special_tokens=True)
        assert list(row.texts) == decoded
        ended += sum(number < 7 for number in row.num_tokens)
    assert ended > 4


# --- beam search ---------------------------------------------------------------------------------


def complete_texts(model: nn.Module, prompt: list[int], words: list[str], length: int):
    """Every complete response with its summed log-probability, by recursion."""

    def extend(ids: list[int], score: float, quotes: int) -> Iterator[tuple[list[int], float]]:
        log = next_logits(prompt + ids, model).double().log_softmax(-1).tolist()
        for token, word in enumerate(words):
            now, new = [*ids, token], quotes + word.count('"')
            if word == END or new >= 2 or len(now) == length:
                yield now, score + log[token]
            else:
                yield from extend(now, score + log[token], new)

    return sorted(extend([], 0.0, 0), key=lambda found: -found[1])


SMALL = ["<s>", END, "a", "b", '"', '"c', '""']


@pytest.mark.parametrize("length", [1, 2, 4])
def test_a_wide_beam_finds_the_best_of_all_texts(length: int) -> None:
    model, tokenizer = writer_model(len(SMALL), seed=1), writer_tokenizer([*SMALL, "<unk>"])
    prompts = [[0, 2], [0, 2, 3, 3]]
    width = len(SMALL) ** length
    num = min(12, width)
    ends = find_endings(model, tokenizer)
    with torch.no_grad():
        config = GenerationConfig(max_new_tokens=length, num_beams=width, num_return_sequences=num)
        found = beam_search(GenerationState(model, prompts), ends, config)
    for prompt, row in zip(prompts, found, strict=True):
        expected = complete_texts(model, prompt, SMALL, length)[:num]
        assert [tokens.ids for tokens in row] == [ids for ids, _ in expected]
        assert [tokens.score for tokens in row] == pytest.approx([s for _, s in expected], abs=1e-4)


CHOICE = ["<s>", END, "a", "b", "c", "d", "<unk>"]
GARDEN = {
    "<s>": {"a": 0.6, "b": 0.4},
    "a": {"c": 0.5, "d": 0.5 - 1e-3, END: 1e-3},
    "b": {END: 0.9, "d": 0.1},
    "c": {END: 1.0},
    "d": {END: 1.0},
}


def test_a_beam_finds_what_the_likeliest_token_misses() -> None:
    # Greedy: a c, .6 x .5 = .3. Better: b, .4 x .9 = .36.
    model = Table(CHOICE, GARDEN)
    [greedy] = generate_titles(model, model.tokenizer, [[0]], GREEDY)
    assert (greedy.texts, greedy.num_tokens) == (("a c",), (3,))
    assert greedy.scores == pytest.approx([math.log(0.3)])
    config = GenerationConfig(max_new_tokens=12, num_beams=2, num_return_sequences=2)
    [both] = generate_titles(model, model.tokenizer, [[0]], config)
    assert both.texts == ("b", "a c")
    assert both.scores == pytest.approx([math.log(0.36), math.log(0.3)])
    assert both.num_tokens == (2, 3)


def test_one_beam_is_greedy() -> None:
    ends = find_endings(MODEL, TOKENIZER)
    with torch.no_grad():
        found = beam_search(GenerationState(MODEL, PROMPTS), ends, GREEDY)
        greedy = sample_texts(GenerationState(MODEL, PROMPTS), ends, GREEDY)
    assert [row[0].ids for row in found] == [tokens.ids for tokens in greedy]
    assert [len(row) for row in found] == [1] * len(PROMPTS)


def test_fewer_texts_than_wanted_come_back_without_fillers() -> None:
    model = Table(CHOICE, GARDEN)
    [row] = generate_titles(
        model,
        model.tokenizer,
        [[0]],
        GenerationConfig(max_new_tokens=9, num_beams=9, num_return_sequences=9),
    )
    assert row.texts == ("b", "a c", "a d", "b d", "a")
    assert np.exp(row.scores) == pytest.approx([0.36, 0.3, 0.2994, 0.04, 0.0006], rel=1e-4)


def test_more_texts_are_the_same_texts_and_more() -> None:
    two, four = (
        decode(config=GenerationConfig(max_new_tokens=8, num_beams=4, num_return_sequences=num))
        for num in (2, 4)
    )
    assert texts(two) == [row.texts[:2] for row in four]
    for row in four:
        assert list(row.scores) == sorted(row.scores, reverse=True)


# --- drawing -------------------------------------------------------------------------------------


def drawn(num: int, temperature: float = 1.0, seed: int = 0, length: int = 1) -> GenerationConfig:
    return GenerationConfig(
        max_new_tokens=length, temperature=temperature, num_return_sequences=num, seed=seed
    )


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_draws_follow_the_softmax(temperature: float) -> None:
    prompt = PROMPTS[0]
    ends = find_endings(MODEL, TOKENIZER)
    with torch.no_grad():
        state = GenerationState(MODEL, [prompt])
        state.take(torch.zeros(6000, dtype=torch.int64))
        uniforms = torch.from_numpy(np.random.default_rng(1).random((6000, 1)))
        config = GenerationConfig(max_new_tokens=1, temperature=temperature)
        written = sample_texts(state, ends, config, uniforms)
    counts = np.bincount([tokens.ids[0] for tokens in written], minlength=len(WORDS))
    expected = 6000 * (next_logits(prompt).double() / temperature).softmax(-1).numpy()
    by_size = np.argsort(expected)
    common, rare = by_size[8:], by_size[:8]
    observed = [*counts[common], counts[rare].sum()]
    assert chisquare(observed, [*expected[common], expected[rare].sum()]).pvalue > 1e-3
    # Scores are the model's own log-probabilities, whatever the temperature.
    own = next_logits(prompt).log_softmax(-1)
    for tokens in written[:20]:
        assert tokens.score == pytest.approx(own[tokens.ids[0]].item(), abs=1e-4)


def test_words_without_probability_are_never_drawn() -> None:
    model = Table(CHOICE, GARDEN)
    [row] = generate_titles(model, model.tokenizer, [[0]], drawn(2000, length=6))
    assert set(row.texts) <= {"b", "a c", "a d", "b d", "a"}
    assert row.texts.count("b") == pytest.approx(2000 * 0.36, abs=3 * 21.5)


def test_a_seed_decides_what_is_drawn() -> None:
    first, again, other = (decode(config=drawn(2, seed=seed, length=8)) for seed in (5, 5, 6))
    assert texts(first) == texts(again)
    assert texts(first) != texts(other)


def test_texts_of_one_prompt_and_of_equal_prompts_are_drawn_apart() -> None:
    rows = decode([PROMPTS[3]] * 4, drawn(4, temperature=2.0, length=8))
    assert len({row.texts for row in rows}) == 4
    assert all(len(set(row.texts)) > 1 for row in rows)


def test_a_draw_is_among_the_draws_of_more() -> None:
    one, three = (decode(config=drawn(num, length=6)) for num in (1, 3))
    for row, more in zip(one, three, strict=True):
        assert row.texts[0] in more.texts
        assert list(more.scores) == sorted(more.scores, reverse=True)


def test_a_low_temperature_is_greedy() -> None:
    cold = GenerationConfig(max_new_tokens=12, temperature=1e-4)
    assert texts(decode(config=cold)) == texts(decode())


def test_random_states_of_the_caller_are_untouched() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    decode(PROMPTS[:3], drawn(2, length=3))
    assert torch.equal(torch.get_rng_state(), before)


# --- how a text ends ------------------------------------------------------------------------------

ENDS = ["<s>", END, "Emma", '"', '"Emma', '".', '""', '","', "<unk>"]


def chain(*words: str) -> Table:
    """Writes these words one after the other, each at most once."""
    return Table(ENDS, {a: {b: 1.0} for a, b in zip(["<s>", *words], words, strict=False)})


@pytest.mark.parametrize(
    ("words", "text", "num_tokens"),
    [
        ((END,), "", 1),
        (("Emma", END), "Emma", 2),
        (('"Emma', '"', "Emma"), '"Emma "', 2),
        (('"Emma', '".', "Emma"), '"Emma "', 2),
        (("Emma", '""', "Emma"), 'Emma ""', 2),
        (('"Emma', '","'), '"Emma "', 2),
        (('"', "Emma", END), '" Emma', 3),
    ],
)
@pytest.mark.parametrize("beams", [1, 2])
def test_endings(words: tuple[str, ...], text: str, num_tokens: int, beams: int) -> None:
    model = chain(*words)
    config = GenerationConfig(max_new_tokens=5, num_beams=beams)
    [row] = generate_titles(model, model.tokenizer, [[0]], config)
    assert (row.texts, row.num_tokens) == ((text,), (num_tokens,))
    assert row.scores == pytest.approx([0])


def test_endless_texts_stop_at_the_most_tokens() -> None:
    model = Table(ENDS, {"<s>": {"Emma": 1.0}, "Emma": {"Emma": 1.0}})
    for beams in (1, 3):
        config = GenerationConfig(max_new_tokens=4, num_beams=beams)
        [row] = generate_titles(model, model.tokenizer, [[0]], config)
        assert (row.texts, row.num_tokens) == (("Emma Emma Emma Emma",), (4,))


def test_the_makers_end_tokens_end_a_text_and_their_other_settings_do_nothing() -> None:
    model = writer_model()
    model.generation_config.temperature = 9.0
    model.generation_config.repetition_penalty = 9.0
    assert_same(generate_titles(model, TOKENIZER, PROMPTS, GREEDY), decode())
    comma = 5
    model.generation_config.eos_token_id = [1, comma]
    for row in generate_titles(model, TOKENIZER, PROMPTS, GREEDY):
        assert WORDS[comma] not in row.texts[0].split()


def test_no_prompts() -> None:
    assert decode([]) == []


@settings(max_examples=30)
@given(st.text(alphabet='ab" \n', max_size=12))
def test_cutting_behind_the_closing_quote(text: str) -> None:
    cut = cut_after_quotes(text)
    assert text.startswith(cut)
    assert cut.count('"') == min(2, text.count('"'))
    assert cut == text or cut.endswith('"')
    assert cut_after_quotes(cut) == cut


# --- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens = 0"),
        ({"num_beams": 0}, "num_beams = 0"),
        ({"num_return_sequences": 0}, "num_return_sequences = 0"),
        ({"temperature": -1.0}, "temperature = -1.0"),
        ({"temperature": math.nan}, "temperature = nan"),
        ({"temperature": 1.0, "num_beams": 2}, "takes no temperature"),
        ({"num_return_sequences": 2}, "cannot return 2 texts"),
        ({"num_return_sequences": 3, "num_beams": 2}, "cannot return 3 texts"),
        ({"top_p": 0.0}, "top_p = 0.0"),
        ({"top_p": 1.5}, "top_p is 1.5"),
        ({"top_k": -1}, "top_k = -1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(BenchError, match=message):
        GenerationConfig(**{"max_new_tokens": 4, **settings})


def test_batches_fill_the_free_memory_of_a_gpu() -> None:
    model = writer_model()
    gib = [count_cache_tokens(model, free_bytes=number << 30) for number in (1, 8, 64)]
    assert gib[1:] == [8 * gib[0], 64 * gib[0]]
    assert count_cache_tokens(model, free_bytes=0) == 1
    # Llama-3.2-1B's shape in bfloat16: 32 KiB of keys and values per token, twice; 40 KiB of
    # states; 1.5 MB of logits per 128 tokens. Half of 64 GiB holds 289,000.
    config = LlamaConfig(
        vocab_size=128_256,
        hidden_size=2048,
        intermediate_size=8192,
        num_hidden_layers=16,
        num_attention_heads=32,
        num_key_value_heads=8,
    )
    with torch.device("meta"):
        large: Any = LlamaForCausalLM(config).bfloat16()
    assert count_cache_tokens(large, free_bytes=64 << 30) == 2**18
    assert count_cache_tokens(large) == CPU_CACHE_TOKENS


@pytest.mark.parametrize("beams", [1, 2])
def test_a_broken_model_is_refused(beams: int) -> None:
    model = writer_model()
    nn.init.constant_(model.lm_head.weight, math.nan)
    with pytest.raises(BenchError, match="not finite"):
        generate_titles(
            model, TOKENIZER, PROMPTS[:2], GenerationConfig(max_new_tokens=3, num_beams=beams)
        )
