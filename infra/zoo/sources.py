"""Content of the zoo's videos: frames that carry their own number, beeps at known times.

The upper half of every frame is its number in binary, 16 boxes in two rows, so a lost, doubled
or swapped frame is detected from its pixels, whatever codec and size it went through.
"""

BEEP_HZ = 1_000
BEEP_SECONDS = 0.1
NUM_BITS = 16
BITS_IN_A_ROW = 8


def beep(*starts: float, rate: int = 48_000) -> str:
    """Return a lavfi source: silence with a short tone at each of the given seconds."""
    windows = "+".join(f"between(t,{start},{start + BEEP_SECONDS})" for start in starts)
    return f"aevalsrc='0.8*sin(2*PI*{BEEP_HZ}*t)*({windows})':s={rate}"


def _numbered(first: int) -> str:
    """Return a filter that draws a frame's number: bit k is a box, white for 1."""
    boxes = ["drawbox=0:0:iw:ih/2:black:fill"]
    for k in range(NUM_BITS):
        row, column = divmod(k, BITS_IN_A_ROW)
        box = f"x=iw*{column}/{BITS_IN_A_ROW}:y=ih*{row}/4:w=iw/{BITS_IN_A_ROW}:h=ih/4"
        boxes.append(f"drawbox={box}:c=white:t=fill:enable='bitand(n+{first},{1 << k})'")
    return ",".join(boxes)


def video(
    seconds: float, *, fps: str = "25", size: str = "160x120", first: int = 0
) -> tuple[str, ...]:
    """Return ffmpeg's input arguments for a moving lavfi pattern, numbered from ``first`` on."""
    source = f"testsrc2=s={size}:r={fps},format=yuv420p,{_numbered(first)}"
    return ("-f", "lavfi", "-t", str(seconds), "-i", source)


def audio(seconds: float, *beeps: float, rate: int = 48_000) -> tuple[str, ...]:
    """Return ffmpeg's input arguments for a lavfi track of beeps."""
    return ("-f", "lavfi", "-t", str(seconds), "-i", beep(*beeps, rate=rate))
