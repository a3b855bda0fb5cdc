"""The exact tests, against counting every case."""

from itertools import combinations, product

import pytest

from retroscope.auditing.exact_tests import binomial_tail, highest_rate, hypergeometric_tail


@pytest.mark.parametrize("probability", [0.0, 0.2, 0.5, 1.0])
@pytest.mark.parametrize("successes", range(6))
def test_a_binomial_tail_is_the_weight_of_all_outcomes_with_as_many(
    successes: int, probability: float
) -> None:
    trials = 5
    counted = sum(
        probability ** sum(outcome) * (1 - probability) ** (trials - sum(outcome))
        for outcome in product((0, 1), repeat=trials)
        if sum(outcome) >= successes
    )
    assert binomial_tail(successes, trials, probability) == pytest.approx(counted)


@pytest.mark.parametrize("successes", range(5))
def test_a_hypergeometric_tail_is_the_share_of_draws_with_as_many(successes: int) -> None:
    population, marked, draws = 9, 4, 4
    every = list(combinations(range(population), draws))
    counted = sum(sum(item < marked for item in drawn) >= successes for drawn in every)
    tail = hypergeometric_tail(successes, draws, marked=marked, population=population)
    assert tail == pytest.approx(counted / len(every))


def test_tails_are_right_for_large_counts() -> None:
    assert binomial_tail(500, 1000, 0.5) == pytest.approx(0.512612509)
    assert hypergeometric_tail(1, 1, marked=1300, population=1_281_167) == pytest.approx(
        1300 / 1_281_167
    )


@pytest.mark.parametrize(("successes", "trials"), [(0, 20), (1, 20), (3, 500), (19, 20)])
def test_the_highest_rate_leaves_so_few_successes_five_percent(successes: int, trials: int) -> None:
    rate = highest_rate(successes, trials)
    assert 1 - binomial_tail(successes + 1, trials, rate) == pytest.approx(0.05)


def test_the_highest_rate_follows_the_rule_of_three() -> None:
    assert highest_rate(0, 10_000) == pytest.approx(3 / 10_000, rel=0.01)
    assert highest_rate(20, 20) == 1
