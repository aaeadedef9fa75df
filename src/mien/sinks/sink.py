"""What every sink is. Imports errors, types and whole."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from mien.errors import SinkError
from mien.types import EXPRESSIONS, FrameResult, UInt8Array
from mien.whole import claimed, partial_of


class Sink(ABC):
    """Takes results one by one; a context manager.

    Attributes:
        needs_image: whether `write` wants the annotated picture too.
        remarks: once it is closed, what whoever reads the output should know of it, a line each.
    """

    needs_image = False
    remarks: Sequence[str] = ()

    @abstractmethod
    def write(self, result: FrameResult, image: UInt8Array | None = None) -> None:
        """Add one frame's result.

        Args:
            result: the result.
            image: RGB `uint8 (H, W, 3)` with the annotations drawn, for sinks that want it.

        Raises:
            SinkError: the disk is full, the folder vanished, or the sink cannot take it.
            ValueError: a table was opened for other classes; it will not get its name. Or a file's
                sink is closed: another result would replace what it holds.
        """

    @abstractmethod
    def close(self) -> None:
        """Complete what is under way. The target appears now, if anything was written."""

    def __enter__(self) -> Sink:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class FileSink(Sink):
    """A sink with one target file, written under another name until it is complete.

    From the beginning that name is this sink's alone: what two wrote there would be mixed.

    Raises:
        SinkError: another sink has the same target now, or the folder cannot be written.
    """

    _errors: tuple[type[Exception], ...] = (OSError,)  #: what writing fails with

    def __init__(
        self,
        target: Path,
        labels: Sequence[str] = EXPRESSIONS,
        *,
        shape: bool = False,
        identity: bool = False,
    ) -> None:
        self.target = target
        self.labels, self.shape, self.identity = labels, shape, identity
        self._partial = partial_of(target)
        self._opened = self._broken = self._closed = False
        self._claim = ExitStack()
        try:
            self._claim.enter_context(claimed(self._partial))
        except BlockingIOError as error:
            raise SinkError(
                f"{target}: is being written by another run. Wait for its end, or choose another "
                "name"
            ) from error
        except OSError as error:
            raise self._failed(error) from error

    def write(self, result: FrameResult, image: UInt8Array | None = None) -> None:
        """See `Sink.write`."""
        if self._closed:
            raise ValueError(f"{self.target}: this sink is closed. Open another one")
        try:
            if not self._opened:
                self._open()
                self._opened = True
            self._write(result, image)
        except self._errors as error:
            raise self._failed(error) from error
        except (ValueError, TypeError):  # a result that does not fit: the file would lack it
            self._broken = True
            raise

    def close(self) -> None:
        """See `Sink.close`."""
        if self._closed:
            return
        self._closed = True
        with self._claim:
            if not self._opened or self._broken:
                self._give_up()
                return
            try:
                self._close()
                self._partial.replace(self.target)
            except self._errors as error:
                raise self._failed(error) from error
            self._tidy()

    def _give_up(self) -> None:
        """There may be a gap in what is written: it never gets the target's name."""
        if self._opened:
            with suppress(*self._errors):
                self._close()
                self._tidy()
        with suppress(OSError):
            if not self._partial.stat().st_size:  # as it was claimed
                self._partial.unlink()

    def _failed(self, error: BaseException) -> SinkError:
        self._broken = True
        reason = getattr(error, "strerror", None) or error
        return SinkError(
            f"{self.target}: cannot be written ({reason}). Check the folder and the disk's space"
        )

    @abstractmethod
    def _open(self) -> None:
        """Create the partial file."""

    @abstractmethod
    def _write(self, result: FrameResult, image: UInt8Array | None) -> None:
        """Append one result."""

    @abstractmethod
    def _close(self) -> None:
        """Complete the partial file."""

    def _tidy(self) -> None:
        """Remove what nobody needs once the file is complete. Its name may be another's again."""
