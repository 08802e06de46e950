"""What came of an encoding, in figures."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodeReport:
    """What came of an encoding; PSNR against the frames read, averaged over frames."""

    num_frames: int
    width: int
    height: int
    seconds: float  # duration of the video
    size_bytes: int  # the whole file
    video_bytes: int  # the file without audio data
    psnr_y: float
    psnr_u: float
    psnr_v: float
    crf: float  # averaged over frames
    buffer_peak_s: float | None = None  # how full a buffer was, in seconds of the bitrate held

    @property
    def psnr_yuv_611(self) -> float:
        """(6 Y + U + V) / 8 in dB."""
        return (6 * self.psnr_y + self.psnr_u + self.psnr_v) / 8

    @property
    def bpp(self) -> float:
        """Bits per luma sample, audio left out."""
        return 8 * self.video_bytes / (self.num_frames * self.width * self.height)

    @property
    def rate_kbps(self) -> float:
        """Kilobits per second, audio left out."""
        return 8 * self.video_bytes / max(self.seconds, 1e-9) / 1000

    def figures(self) -> dict[str, float]:
        """Everything of interest, rounded, ready for JSON."""
        peak_s = self.buffer_peak_s
        return {
            "frames": self.num_frames,
            "crf": round(self.crf, 4),
            "size_bytes": self.size_bytes,
            "video_bytes": self.video_bytes,
            "rate_kbps": round(self.rate_kbps, 3),
            "bpp": round(self.bpp, 6),
            "psnr_y": round(self.psnr_y, 4),
            "psnr_u": round(self.psnr_u, 4),
            "psnr_v": round(self.psnr_v, 4),
            "psnr_yuv_611": round(self.psnr_yuv_611, 4),
            **({} if peak_s is None else {"buffer_peak_s": round(peak_s, 4)}),
        }
