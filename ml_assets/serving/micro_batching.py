"""Single requests that arrive together are predicted together.

NumPy's and XGBoost's calls cost the same for one row as for ten. Under load many requests wait in
the same turn of the event loop; alone, a request waits for nobody.
"""

import asyncio
from collections.abc import Callable

from ml_assets.pipeline.predict import Answers
from ml_assets.requests.parse import Request, request_columns
from ml_assets.serving.bundle import ServedModel

Answered = tuple[ServedModel, Answers]
"""The version that answered, and its figures for one request alone."""


class MicroBatcher:
    """Requests of one turn of the event loop, answered by one model in one go.

    Args:
        model: Gives the version in use, which is asked for once a turn.
    """

    def __init__(self, model: Callable[[], ServedModel | None]) -> None:
        self._model = model
        self._waiting: list[tuple[Request, asyncio.Future[Answered]]] = []

    async def ask(self, request: Request) -> Answered:
        """Predict a valid request.

        Raises:
            Exception: whatever kept the model from answering, for each that was asked with it.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Answered] = loop.create_future()
        if not self._waiting:
            loop.call_soon(self._answer)
        self._waiting.append((request, future))
        return await future

    def _answer(self) -> None:
        waiting, self._waiting = self._waiting, []
        try:
            served = self._model()
            if served is None:
                raise LookupError("there was a model when this was asked, and there is none now")
            answers = served.model.minutes(request_columns([request for request, _ in waiting]))
        except Exception as error:  # noqa: BLE001 - raised again where each of them is awaited
            for _, future in waiting:
                if not future.done():
                    future.set_exception(error)
            return
        for row, (_, future) in enumerate(waiting):
            if not future.done():
                future.set_result((served, answers.of(row)))
