"""Which page is where, on a serving worker and on a learner.  A new page is a module, and here an import,
an object and a `Route`.
"""

from typing import Any

from streams.monitor.heartbeats import ProcessStatus
from streams.monitor.item_map import ItemMap
from streams.monitor.prometheus import learner_metrics, serving_metrics
from streams.monitor.sample import LearnerSampler, ServingSampler
from streams.runtime.learning import Learning
from streams.runtime.live_settings import LiveSettings
from streams.runtime.serving import Serving
from streams.settings import Settings
from streams.web.dead_letters_page import DeadLettersPage
from streams.web.described import DescribedItems
from streams.web.health_page import HealthPage
from streams.web.item_page import ItemPage
from streams.web.learner_page import LearnerPage, learner_health
from streams.web.live_page import LivePage
from streams.web.map_page import MapPage
from streams.web.metrics_page import MetricsPage
from streams.web.overview_page import OverviewPage
from streams.web.peers import Peers
from streams.web.preview_page import PreviewPage
from streams.web.quality_page import QualityPage
from streams.web.settings_page import SettingsPage
from streams.web.site import Route, attach
from streams.web.user_page import UserPage
from streams.web.worker_state import health


def attach_serving_pages(
    app: Any,
    serving: Serving,
    status: ProcessStatus,
    sampler: ServingSampler,
    live_settings: LiveSettings,
    item_map: ItemMap,
) -> None:
    """Serve a worker's pages on its app's web server."""
    peers = Peers(app, serving, status)
    overview, quality, live = OverviewPage(serving, status), QualityPage(status), LivePage(serving, peers)
    users, items, map_ = (
        UserPage(serving, peers),
        ItemPage(serving, item_map, peers),
        MapPage(item_map, peers),
    )
    dead_letters, settings = DeadLettersPage(serving), SettingsPage(live_settings, status, serving.model)
    preview = PreviewPage(serving, live_settings)
    described = DescribedItems(serving.catalog, serving.settings.web_image_hosts)
    probes = HealthPage(lambda: health(serving), worker=serving.settings.name)
    metrics = MetricsPage(sampler.take, serving_metrics)
    routes = [
        Route("/", overview.page, menu="Overview"),
        Route("/plots.json", overview.plots, json=False),
        Route("/quality", quality.page, menu="Quality"),
        Route("/quality/plots.json", quality.plots, json=False),
        Route("/live", live.page, menu="Live"),
        Route("/live/stream", live.stream, json=False),
        Route("/map", map_.page, menu="Map"),
        Route("/users", users.by_query),
        Route("/users/{id:(?s:.*)}", users.by_path),
        Route("/items", items.by_query, menu="Items"),
        Route("/described.json", described.page, json=False),
        Route("/items/{id:(?s:.*)}", items.by_path),
        Route("/dead-letters", dead_letters.page, menu="Dead letters"),
        Route("/dead-letters", dead_letters.replay, method="POST"),
        Route("/settings", settings.page, menu="Settings"),
        Route("/settings", settings.change, method="POST"),
        Route("/settings/preview", preview.page, method="POST"),
        Route("/health/live", probes.live),
        Route("/health/ready", probes.ready),
        Route("/metrics", metrics.page, json=False),
    ]
    attach(app.web.web_app, "Freshet", serving.settings, routes, described.add)
    app.web.web_app.on_shutdown.append(live.close)
    app.web.web_app.on_cleanup.append(peers.close)


def attach_learner_pages(app: Any, learning: Learning, sampler: LearnerSampler, settings: Settings) -> None:
    """Serve a learner's pages on its app's web server."""
    overview, probes = LearnerPage(learning), HealthPage(lambda: learner_health(learning))
    metrics = MetricsPage(sampler.take, learner_metrics)
    routes = [
        Route("/", overview.page),
        Route("/health/live", probes.live),
        Route("/health/ready", probes.ready),
        Route("/metrics", metrics.page, json=False),
    ]
    attach(app.web.web_app, "Freshet learner", settings, routes)
