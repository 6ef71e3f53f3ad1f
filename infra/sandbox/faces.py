"""Participants' talking faces; mouth and brows show the face stance."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

WIDTH = 640
HEIGHT = 480

Frame = npt.NDArray[np.uint8]
Color = tuple[int, int, int]

# Skin is kept clear of the mouth's dark tone: at 64 x 64 pixels the contrast is all a model sees.
_SKINS: tuple[Color, ...] = (
    (255, 224, 196), (245, 205, 170), (234, 188, 150), (219, 168, 126), (198, 146, 105),
    (178, 126, 88), (160, 110, 78),
)  # fmt: skip
_HAIRS: tuple[Color, ...] = (
    (38, 28, 24), (66, 42, 28), (104, 66, 38), (150, 100, 52), (206, 164, 92), (142, 62, 36),
    (126, 122, 124),
)  # fmt: skip
_BACKDROPS: tuple[Color, ...] = (
    (92, 128, 150), (118, 148, 122), (150, 126, 116), (108, 108, 146), (146, 140, 110),
    (84, 118, 116), (128, 104, 128),
)  # fmt: skip
_CLOTHES: tuple[Color, ...] = (
    (58, 84, 122), (122, 58, 66), (64, 104, 84), (196, 178, 140), (84, 76, 104), (52, 58, 66),
)  # fmt: skip
_IRISES: tuple[Color, ...] = ((70, 44, 28), (62, 92, 120), (74, 102, 66))
_MOUTH: Color = (62, 12, 22)
_TONGUE: Color = (150, 52, 58)
_BROW_LIFT_POSITIVE = (0.31, 0.39)  # outer, inner end above the eye, in head heights
_BROW_LIFT_NEGATIVE = (0.47, 0.19)
_SUBPIXEL_BITS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Face:
    """A participant's appearance, the same in all videos; lengths in pixels."""

    skin: Color
    hair: Color
    backdrop: Color
    clothes: Color
    iris: Color
    hair_style: int
    has_glasses: bool
    center_x: float
    center_y: float
    radius_x: float
    radius_y: float
    sway_phase: float
    sway_hz: float


@dataclass(frozen=True, slots=True)
class _Pose:
    """Position of the head in one frame; maps head units (1 = radius) to pixels."""

    x: float
    y: float
    radius_x: float
    radius_y: float

    def at(self, dx: float, dy: float) -> tuple[float, float]:
        return self.x + dx * self.radius_x, self.y + dy * self.radius_y


def make_face(rng: np.random.Generator) -> Face:
    """Sample a participant's appearance."""
    radius_y = float(rng.uniform(186, 208))
    return Face(
        skin=_pick(rng, _SKINS),
        hair=_pick(rng, _HAIRS),
        backdrop=_pick(rng, _BACKDROPS),
        clothes=_pick(rng, _CLOTHES),
        iris=_pick(rng, _IRISES),
        hair_style=int(rng.integers(4)),
        has_glasses=bool(rng.random() < 0.25),
        center_x=float(WIDTH / 2 + rng.uniform(-45, 45)),
        center_y=float(HEIGHT / 2 + 8 + rng.uniform(-8, 8)),
        radius_x=radius_y * float(rng.uniform(0.94, 1.06)),
        radius_y=radius_y,
        sway_phase=float(rng.uniform(0, 2 * math.pi)),
        sway_hz=float(rng.uniform(0.15, 0.35)),
    )


def draw_frame(
    face: Face,
    stance: int,
    mouth_open: float,
    blink: float,
    t: float,
    cue_strength: float,
    rng: np.random.Generator,
) -> Frame:
    """Draw the face at second `t` of a video, RGB [480, 640, 3].

    `stance` is +1 or -1; `mouth_open` and `blink` are in [0, 1]. A `cue_strength` below 1 moves
    mouth and brows toward an expression that is the same for both stances.
    """
    canvas = _backdrop(face).copy()
    pose = _pose(face, t, rng)
    lean = stance * cue_strength
    _draw_head(canvas, face, pose)
    _draw_eyes(canvas, face, pose, blink, t)
    _draw_brows(canvas, face, pose, lean)
    _draw_mouth(canvas, pose, lean, mouth_open)
    return canvas


def _pick(rng: np.random.Generator, colors: tuple[Color, ...]) -> Color:
    base = np.array(colors[int(rng.integers(len(colors)))])
    red, green, blue = (int(c) for c in np.clip(base + rng.integers(-8, 9, 3), 0, 255))
    return red, green, blue


def _shade(color: Color, factor: float) -> Color:
    red, green, blue = (min(255, int(c * factor)) for c in color)
    return red, green, blue


def _pose(face: Face, t: float, rng: np.random.Generator) -> _Pose:
    angle = 2 * math.pi * face.sway_hz * t + face.sway_phase
    tremor_x, tremor_y = rng.normal(0.0, 0.25, 2)
    return _Pose(
        face.center_x + 7.0 * math.sin(angle) + float(tremor_x),
        face.center_y + 4.0 * math.sin(1.7 * angle) + float(tremor_y),
        face.radius_x,
        face.radius_y,
    )


@lru_cache(maxsize=8)
def _backdrop(face: Face) -> Frame:
    """Draw everything that does not move: a softly lit wall and the shoulders."""
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    distance = np.hypot((columns - face.center_x) / WIDTH, (rows - 0.4 * HEIGHT) / HEIGHT)
    light = np.clip(1.15 - 0.55 * distance, 0.6, 1.15)[..., None]
    canvas = np.clip(np.array(face.backdrop) * light, 0, 255).astype(np.uint8)
    bottom = (face.center_x, face.center_y + 1.42 * face.radius_y)
    _ellipse(canvas, bottom, (1.25 * face.radius_x, 0.62 * face.radius_y), face.clothes)
    canvas.setflags(write=False)
    return canvas


def _ellipse(
    canvas: Frame,
    center: tuple[float, float],
    axes: tuple[float, float],
    color: Color,
    arc: tuple[float, float] = (0, 360),
    thickness: int = -1,
) -> None:
    scale = 1 << _SUBPIXEL_BITS
    cv2.ellipse(
        canvas,
        (round(center[0] * scale), round(center[1] * scale)),
        (round(axes[0] * scale), round(axes[1] * scale)),
        0.0, arc[0], arc[1], color, thickness, cv2.LINE_AA, _SUBPIXEL_BITS,
    )  # fmt: skip


def _draw_head(canvas: Frame, face: Face, pose: _Pose) -> None:
    width, height = pose.radius_x, pose.radius_y
    if face.hair_style == 1:  # long hair falls behind the cheeks
        _ellipse(canvas, pose.at(0, 0.12), (1.13 * width, 1.14 * height), _shade(face.hair, 0.85))
    for side in (-1, 1):
        _ellipse(canvas, pose.at(0.98 * side, 0.02), (0.13 * width, 0.2 * height), face.skin)
        ear = (0.07 * width, 0.12 * height)
        _ellipse(canvas, pose.at(0.99 * side, 0.02), ear, _shade(face.skin, 0.86))
    _ellipse(canvas, pose.at(0, -0.06), (1.02 * width, 1.0 * height), face.hair)
    _ellipse(canvas, pose.at(0, 0.06), (0.97 * width, 0.94 * height), face.skin)
    _draw_fringe(canvas, face, pose)
    for side in (-1, 1):
        _ellipse(canvas, pose.at(0.62 * side, 0.2), (0.15 * width, 0.1 * height), _blush(face.skin))
    nose = _shade(face.skin, 0.84)
    _ellipse(canvas, pose.at(0, 0.1), (0.1 * width, 0.07 * height), nose, (10, 170), 5)


def _blush(skin: Color) -> Color:
    return min(255, skin[0] + 10), int(skin[1] * 0.9), int(skin[2] * 0.9)


def _draw_fringe(canvas: Frame, face: Face, pose: _Pose) -> None:
    """Draw the hair above the brows, which it never covers."""
    width, height = pose.radius_x, pose.radius_y
    if face.hair_style == 2:  # parted to one side
        _ellipse(canvas, pose.at(0, -0.84), (0.4 * width, 0.08 * height), face.hair)
        _ellipse(canvas, pose.at(-0.34, -0.72), (0.52 * width, 0.2 * height), face.hair)
        _ellipse(canvas, pose.at(0.42, -0.76), (0.42 * width, 0.15 * height), face.hair)
    elif face.hair_style == 3:  # curls
        _ellipse(canvas, pose.at(0, -0.82), (0.5 * width, 0.12 * height), face.hair)
        for step in range(-3, 4):
            center = pose.at(0.24 * step, -0.88 + 0.018 * step * step)
            _ellipse(canvas, center, (0.18 * width, 0.17 * height), face.hair)
    else:
        _ellipse(canvas, pose.at(0, -0.82), (0.6 * width, 0.16 * height), face.hair)


def _draw_eyes(canvas: Frame, face: Face, pose: _Pose, blink: float, t: float) -> None:
    width, height = pose.radius_x, pose.radius_y
    gaze = 0.025 * math.sin(0.9 * t + face.sway_phase)
    openness = 1.0 - min(max(blink, 0.0), 1.0)
    for side in (-1, 1):
        center = pose.at(0.4 * side, -0.2)
        if openness < 0.25:
            lid = (0.15 * width, 0.05 * height)
            _ellipse(canvas, center, lid, _shade(face.skin, 0.55), (10, 170), 5)
        else:
            _draw_open_eye(canvas, face, pose, side, gaze, openness)
        if face.has_glasses:
            frame_axes = (0.26 * width, 0.2 * height)
            _ellipse(canvas, center, frame_axes, (70, 66, 72), thickness=4)
    if face.has_glasses:
        _ellipse(
            canvas, pose.at(0, -0.2), (0.14 * width, 0.05 * height), (70, 66, 72), (190, 350), 4
        )


def _draw_open_eye(
    canvas: Frame, face: Face, pose: _Pose, side: int, gaze: float, openness: float
) -> None:
    width, height = pose.radius_x, pose.radius_y
    center = pose.at(0.4 * side, -0.2)
    _ellipse(canvas, center, (0.16 * width, 0.13 * height * openness), (250, 250, 248))
    iris = pose.at(0.4 * side + gaze, -0.19)
    squeeze = min(1.0, 1.15 * openness)
    _ellipse(canvas, iris, (0.095 * width, 0.1 * height * squeeze), face.iris)
    _ellipse(canvas, iris, (0.05 * width, 0.055 * height * squeeze), (14, 12, 14))
    glint = pose.at(0.43 * side + gaze if side > 0 else 0.37 * side + gaze, -0.23)
    _ellipse(canvas, glint, (0.02 * width, 0.02 * height), (255, 255, 255))


def _draw_brows(canvas: Frame, face: Face, pose: _Pose, lean: float) -> None:
    weight = (1 + lean) / 2
    outer, inner = (
        weight * high + (1 - weight) * low
        for high, low in zip(_BROW_LIFT_POSITIVE, _BROW_LIFT_NEGATIVE, strict=True)
    )
    color = _shade(face.hair, 0.45)
    thickness = round(0.1 * pose.radius_y)
    for side in (-1, 1):
        ends = (pose.at(0.62 * side, -0.2 - outer), pose.at(0.18 * side, -0.2 - inner))
        start, stop = (tuple(round(c * 16) for c in end) for end in ends)
        cv2.line(canvas, start, stop, color, thickness, cv2.LINE_AA, _SUBPIXEL_BITS)


def _draw_mouth(canvas: Frame, pose: _Pose, lean: float, mouth_open: float) -> None:
    """Draw a filled mouth between two half ellipses with common corners.

    At `lean` +1 it is the lower half disc (a smile), at -1 the upper half moved lower (a frown),
    at 0 an oval. Loudness changes its height only, between 80 and 110 percent.
    """
    half_width = 0.54 * pose.radius_x
    height = 0.46 * pose.radius_y * (0.8 + 0.3 * min(max(mouth_open, 0.0), 1.0))
    above, below = height * (1 - lean) / 2, height * (1 + lean) / 2
    corner = pose.at(0, 0.49 - 0.27 * lean)
    _half_disc(canvas, corner, half_width, above, below, _MOUTH)
    tongue = (corner[0], corner[1] + 0.45 * below - 0.1 * above)
    _half_disc(canvas, tongue, 0.42 * half_width, 0.3 * above, 0.42 * below, _TONGUE)


def _half_disc(
    canvas: Frame,
    corner: tuple[float, float],
    half_width: float,
    above: float,
    below: float,
    color: Color,
) -> None:
    angles = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    reach = np.where(np.sin(angles) > 0, below, above)
    points = np.stack(
        [corner[0] + half_width * np.cos(angles), corner[1] + reach * np.sin(angles)], axis=1
    )
    fixed = np.round(points * (1 << _SUBPIXEL_BITS)).astype(np.int32)
    cv2.fillPoly(canvas, [fixed], color, cv2.LINE_AA, _SUBPIXEL_BITS)
