"""How likely counts are by chance: exact tests, from the definitions."""

from functools import lru_cache
from math import exp, inf, lgamma, log, log1p

CONFIDENCE = 0.95
_BISECTIONS = 60


def binomial_tail(successes: int, trials: int, probability: float) -> float:
    """The probability of at least so many successes in independent trials.

    >>> round(binomial_tail(2, 2, 0.5), 12), binomial_tail(0, 5, 0.1)
    (0.25, 1.0)
    """
    return (
        1.0 if successes <= 0 else _binomial_sum(range(successes, trials + 1), trials, probability)
    )


def hypergeometric_tail(successes: int, draws: int, *, marked: int, population: int) -> float:
    """The probability that draws without replacement find at least so many of the marked.

    >>> round(hypergeometric_tail(2, 2, marked=2, population=4), 12)
    0.166666666667
    """
    if successes <= 0:
        return 1.0
    terms = (
        _log_choose(marked, count) + _log_choose(population - marked, draws - count)
        for count in range(successes, min(draws, marked) + 1)
    )
    return min(sum(exp(term - _log_choose(population, draws)) for term in terms), 1.0)


@lru_cache(maxsize=4096)
def highest_rate(successes: int, trials: int) -> float:
    """The upper end of the one-sided 95 % interval of a rate (Clopper & Pearson 1934).

    It is the rate at which so few successes, or fewer, have a probability of 5 %.

    >>> round(highest_rate(0, 500), 5)
    0.00597
    """
    if successes >= trials:
        return 1.0
    low, high = successes / trials, 1.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        is_likely = _binomial_sum(range(successes + 1), trials, middle) > 1 - CONFIDENCE
        low, high = (middle, high) if is_likely else (low, middle)
    return high


def _binomial_sum(counts: range, trials: int, probability: float) -> float:
    """The probability that the number of successes is one of these."""
    if probability <= 0 or probability >= 1:
        return float((0 if probability <= 0 else trials) in counts)
    success, failure = log(probability), log1p(-probability)
    terms = (
        exp(_log_choose(trials, count) + count * success + (trials - count) * failure)
        for count in counts
    )
    return min(sum(terms), 1.0)


def _log_choose(count: int, chosen: int) -> float:
    """The logarithm of a binomial coefficient; minus infinity for none."""
    if not 0 <= chosen <= count:
        return -inf
    return lgamma(count + 1) - lgamma(chosen + 1) - lgamma(count - chosen + 1)
