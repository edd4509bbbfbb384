"""What a backtest has to show: the rule behind its asset check."""

from ml_assets.backtesting.records import BacktestRecord
from ml_assets.trips.quality import Finding, Verdict

LEAST_SHARE_WON = 0.5
"""In more than this share of the months the champion's parameters beat every baseline."""


def better_in_most_months(made: BacktestRecord) -> Finding:
    """The champion's parameters are better than every baseline in most months.

    Without a champion there is nothing to judge.
    """
    if made.champion is None:
        return Finding(Verdict.UNJUDGED, f"no champion serves: {made.summary}")
    won, months = made.months_won
    if not months:
        return Finding(Verdict.UNJUDGED, f"no month was judged: {made.summary}")
    share = won / months
    verdict = Verdict.FINE if share > LEAST_SHARE_WON else Verdict.ODD
    sentence = (
        f"trained on the {made.train_months} months before, the champion's parameters "
        f"({made.champion}) beat every baseline in {won} of {months} months"
    )
    if verdict == Verdict.ODD:
        sentence += ": more trips (most_rows), more months or another family may mend it"
    return Finding(verdict, sentence, share, LEAST_SHARE_WON)
