"""From queries to candidates with their features: retrieve -> merge -> score -> featurize.

The same in the learner, which trains the rankers on it, and in a replica, which serves from it.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from models.catalog import Catalog
from models.components import Generator, Scorer
from models.core import Candidates, Features, QueryBatch, Rows
from models.ranking.features import featurize
from models.ranking.pool import Merger, Pool
from models.statistics import ItemStatistics

CANDIDATES = 48
"""Candidates that each generator proposes for a query, at least."""
FILTERED = 192
"""Candidates that each proposes for a list of which only some items may be part."""
WIDTH = 160
"""Candidates that are ranked, a multiple of the length of the processor's vectors."""

Proposed = Callable[[str, int], Candidates]
"""What a generator proposes, by its name and the number of candidates."""


class Shortlist:
    """Generators whose candidates are ranked together.

    Parameters
    ----------
    generators
        Generators by name.
    weights
        Weight by name; generators without a weight are left out.  The weights decide which candidates are cut
        when there are more than `WIDTH`.
    statistics
        Popularity and ages of the items.
    catalog
        What the shop says of the items: those that are not offered are no candidates.
    """

    def __init__(
        self,
        generators: Mapping[str, Generator],
        weights: Mapping[str, float],
        statistics: ItemStatistics,
        catalog: Catalog,
    ) -> None:
        scorers = {name: generator for name in weights if isinstance(generator := generators[name], Scorer)}
        if len(scorers) == len(weights):  # no other generator proposes candidates that they could score
            scorers = {}
        proposing = [name for name in weights if name not in scorers]
        self.names = [*proposing, *(name for name in weights if name in scorers)]
        """Generators in the order of the features: those that propose, then those that only score."""
        self.weights = {name: weights[name] for name in self.names}
        self._statistics = statistics
        self._proposing = [generators[name] for name in proposing]
        self._scoring = list(scorers.values())
        self._offered = catalog.offered
        self._merger = Merger(
            len(catalog.offered), [weights[name] for name in proposing], len(weights), WIDTH
        )

    def featurize(
        self,
        queries: QueryBatch,
        excluded: Rows,
        k: int = 0,
        proposed: Proposed | None = None,
        offered: NDArray[np.bool_] | None = None,
    ) -> tuple[Pool, Features]:
        """Candidates for lists of k items, without `excluded` (int32[n, any], padded with -1).

        proposed: gives what a generator proposes for these queries, by its name and their number; by default
            the generator is asked.
        offered: which items may be candidates, bool[capacity]; by default those that the catalog offers.
        """
        filtered = offered is not None and offered is not self._offered
        count = max(FILTERED if filtered else CANDIDATES, k + excluded.shape[1])
        proposals = [
            generator.propose(queries, count) if proposed is None else proposed(name, count)
            for name, generator in zip(self.names, self._proposing, strict=False)  # they are the first ones
        ]
        pool = self._merger.merge(queries, proposals, excluded, self._offered if offered is None else offered)
        for g, generator in enumerate(self._scoring, len(self._proposing)):
            pool.scores[:, g] = generator.score(queries, pool.rows)
        return pool, featurize(queries, pool, self._statistics)
