"""ffmpeg arguments that generate each video of the zoo, by file name.

Tiny frames and the fastest encoders: all files are generated within seconds.
"""

from infra.zoo.sources import audio, video

_H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", "30")
_H265 = ("-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none")
_VP8 = ("-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8")
_VP9 = ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8")
_AAC = ("-c:a", "aac", "-b:a", "64k")
_SLOWER_IN_PARTS = "select='not(between(t,2,5)*mod(n,3))*not(gt(t,5)*mod(floor(n*7919/3),2))'"
_SLOW_THEN_FAST = "settb=1/1000,setpts='if(lt(N,60),N/7,60/7+(N-60)/60)*1000+5*random(1)'"
_KEEP_TIMES = ("-fps_mode", "passthrough", "-enc_time_base:v", "1/1000")
_ENCRYPTION = (
    "-encryption_scheme", "cenc-aes-ctr", "-encryption_key", "0123456789abcdef0123456789abcdef",
    "-encryption_kid", "fedcba9876543210fedcba9876543210",
)  # fmt: skip

_RATES = {
    "cinema.mp4": (*video(6.1, fps="24000/1001"), *audio(6.1, 4), *_H264, *_AAC),
    "cfr25.mp4": (*video(12), *audio(12, 1, 6.5, 11), *_H264, *_AAC),
    "ntsc.mp4": (*video(7.3, fps="30000/1001"), *audio(7.3, 2), *_H264, *_AAC),
    "thirty.mp4": (*video(5.1, fps="30"), *audio(5.1, 4.5), *_H264, *_AAC),
    "fifty.mp4": (*video(5.3, fps="50"), *audio(5.3, 3), *_H264, *_AAC),
    "sixty.mp4": (*video(5.02, fps="60"), *audio(5.02, 4), *_H264, *_AAC),
    "vfr.mp4": (
        *video(9, fps="30"), *audio(9, 4, 8),
        "-vf", _SLOWER_IN_PARTS, "-fps_mode", "vfr", *_H264, *_AAC,
    ),
    "two-rates.webm": (
        *video(8, fps="30"), *audio(11.5, 3, 9),
        "-vf", _SLOW_THEN_FAST, *_KEEP_TIMES, *_VP8, "-c:a", "libopus",
    ),
    "jitter.mkv": (
        *video(7, fps="30"), *audio(7, 1, 6),
        "-vf", "settb=1/1000,setpts='N*33+random(1)*30'", *_KEEP_TIMES, *_H264, "-bf", "0",
        *_AAC,
    ),
    "still-for-seconds.mkv": (
        *video(4), *audio(20, 1),
        "-vf", "settb=1/1000,setpts='if(lt(N,50),N*40,N*40+12000)'", *_KEEP_TIMES, *_H264,
        "-bf", "0", *_AAC,
    ),
}  # fmt: skip

_VIDEO = {
    "odd.mp4": (
        *video(3, size="161x121"), *audio(3, 1),
        "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv444p", *_AAC,
    ),
    "wide-pixels.mp4": (*video(3), "-vf", "setsar=2", *_H264),
    "ten-bit.mp4": (*video(3), *audio(3, 2), *_H265, "-pix_fmt", "yuv420p10le", *_AAC),
    "hevc.mp4": (*video(5.2), *audio(5.2, 3), *_H265, "-tag:v", "hvc1", *_AAC),
    "vp9.webm": (*video(5.2), *audio(5.2, 3), *_VP9, "-c:a", "libopus"),
    "studio.mov": (
        *video(5.2), *audio(5.2, 3), "-c:v", "prores_ks", "-profile:v", "0", "-c:a", "pcm_s24le",
    ),
    "camcorder.mpg": (
        *video(5.2), *audio(5.2, 3), "-c:v", "mpeg2video", "-flags", "+ildct+ilme",
        "-b:v", "1M", "-c:a", "mp2",
    ),
    "windows.wmv": (*video(3), *audio(3, 1), "-c:v", "wmv2", "-b:v", "1M", "-c:a", "wmav2"),
    "flash.flv": (*video(3), *audio(3, 1), *_H264, *_AAC),
    "one-frame-over.mp4": (*video(10.04), *audio(10.04, 9), *_H264, *_AAC),
    "b-frames.mkv": (*video(6), *audio(6, 5), "-c:v", "libx264", "-bf", "3", "-g", "50", *_AAC),
    "b-frames.avi": (
        *video(6), *audio(6, 5), "-c:v", "mpeg4", "-bf", "2", "-b:v", "1M", "-c:a", "pcm_s16le",
    ),
    "one-frame.mp4": (*video(0.04), *_H264),
    "very-short.mp4": (*video(0.2), *audio(0.2, 0), *_H264, *_AAC),
    "third-of-a-second.mp4": (*video(0.3, fps="30"), *audio(0.3, 0.1), *_H264, *_AAC),
    "ten-minutes.mp4": (
        *video(600, fps="5", size="64x48"), *audio(600, 1, 299.99, 599, rate=8_000),
        *_H264, "-c:a", "aac", "-b:a", "16k",
    ),
    "moov-first.mp4": (*video(8), *audio(8, 1), *_H264, *_AAC, "-movflags", "+faststart"),
    "fragmented.mp4": (
        *video(6), *audio(6, 2), *_H264, *_AAC, "-movflags", "+frag_keyframe+empty_moov",
    ),
}  # fmt: skip

_AUDIO = {
    "no-audio.mp4": (*video(6), *_H264),
    "audio-only.m4a": (*audio(3, 1), *_AAC),
    "long-audio.m4a": (*audio(12, 1, 6.5, 11), *_AAC, "-movflags", "+faststart"),
    "song-with-cover.mp3": (
        *audio(12, 1, 6.5, 11), "-f", "lavfi", "-t", "0.04", "-i", "color=red:s=64x64",
        "-map", "0:a", "-map", "1:v", "-c:a", "libmp3lame", "-c:v", "png",
        "-disposition:v:0", "attached_pic",
    ),
    "audio-8-khz.mp4": (*video(5.2), *audio(5.2, 4, rate=8_000), *_H264, *_AAC),
    "audio-44-khz-stereo.mov": (
        *video(5.2), *audio(5.2, 4, rate=44_100), "-ac", "2", *_H264, *_AAC,
    ),
    "surround.mkv": (*video(5.2), *audio(5.2, 4), "-ac", "6", *_H264, "-c:a", "ac3"),
    "sample-for-sample.mkv": (
        *video(12), "-f", "lavfi", "-t", "12", "-i", "anoisesrc=r=16000:seed=1:a=0.5",
        *_H264, "-c:a", "pcm_s16le",
    ),
    "audio-shorter.mp4": (*video(7), *audio(4, 1), *_H264, *_AAC),
    "audio-longer.mp4": (*video(6), *audio(9, 1, 5), *_H264, *_AAC),
    "audio-much-longer.mp4": (*video(1), *audio(70, 0.5, rate=8_000), *_H264, *_AAC),
    "audio-late.mp4": (*video(6), "-itsoffset", "1.5", *audio(4, 1), *_H264, *_AAC),
    "audio-with-a-hole.mkv": (
        *video(8), *audio(8, 1, 6), "-af", "aselect='not(between(t,2,4))'", *_H264, *_AAC,
    ),
    "audio-away-for-minutes.mkv": (
        *video(800, fps="1", size="64x48"), *audio(5, 0.5, 2), "-ac", "2",
        "-af", "asetpts='PTS+if(gt(T,1),795/TB)'", *_H264, "-c:a", "pcm_s16le",
    ),
    "audio-hours-late.mkv": (*video(6), "-itsoffset", "20000", *audio(2, 1), *_H264, *_AAC),
    "video-late.mkv": (
        "-itsoffset", "1.2", *video(6), *audio(7.2, 3, 6), "-fps_mode", "passthrough",
        *_H264, *_AAC,
    ),
    "video-late.mp4": (
        "-itsoffset", "1.2", *video(6), *audio(7.2, 3, 6), "-fps_mode", "passthrough",
        *_H264, *_AAC,
    ),
    "recorded-live.webm": (
        "-itsoffset", "0.8", *video(4, fps="15"), *audio(5, 2, 4), "-fps_mode", "passthrough",
        *_VP8, "-c:a", "libopus", "-live", "1",
    ),
    "clock-not-at-zero.ts": (
        *video(6), *audio(6, 2, 5.5), *_H264, *_AAC, "-output_ts_offset", "100",
    ),
    "many-streams.mp4": (
        *video(6, size="64x48"), *video(6, fps="30000/1001"), *audio(6, 1), *audio(6, 4),
        "-map", "0:v", "-map", "1:v", "-map", "2:a", "-map", "3:a", *_H264, *_AAC,
        "-disposition:a:0", "0", "-disposition:a:1", "default",
    ),
    "cover-art.mp4": (
        *video(5.2), *audio(5.2, 3), "-f", "lavfi", "-t", "0.04", "-i", "color=red:s=640x640",
        "-map", "2:v", "-map", "0:v", "-map", "1:a", *_H264, *_AAC, "-c:v:0", "png",
        "-disposition:v:0", "attached_pic",
    ),
    "audio-only-away.mkv": (
        *audio(5, 0.5, 2), "-af", "asetpts='PTS+if(gt(T,1),795/TB)'", "-c:a", "pcm_s16le",
    ),
    "three-streams.ts": (
        *video(3), *audio(3, 1), *audio(3, 2), "-map", "0", "-map", "1", "-map", "2", *_H264, *_AAC,
    ),
    "encrypted-audio.m4a": (*audio(3, 1), *_AAC, *_ENCRYPTION),
    "encrypted.mp4": (*video(6), *audio(6, 1), *_H264, *_AAC, *_ENCRYPTION),
}  # fmt: skip

_PARTS = {
    "part-1.webm": (*video(3), *audio(3, 1), *_VP8, "-c:a", "libopus"),
    "part-2.webm": (*video(4, size="240x180", first=75), *audio(4, 2), *_VP8, "-c:a", "libopus"),
    "part-1.mkv": (*video(3), *audio(3, 1), *_H264, *_AAC),
    "part-2.mkv": (*video(4, size="240x180", first=75), *audio(4, 2), *_H264, *_AAC),
    "mono.mkv": (*video(3), *audio(3, 1), *_H264, "-c:a", "libmp3lame", "-ac", "1"),
    "stereo.mkv": (
        *video(4, first=75), *audio(4, 2), *_H264, "-c:a", "libmp3lame", "-ac", "2",
    ),
    "mono.ts": (*video(3), *audio(3, 1), *_H264, *_AAC, "-ac", "1"),
    "stereo.ts": (*video(4, first=75), *audio(4, 2), *_H264, *_AAC, "-ac", "2"),
}  # fmt: skip

_TONE = "0.3*sin(440*2*PI*t)"


def _tones(*channels: str) -> tuple[str, ...]:
    return ("-f", "lavfi", "-t", "4", "-i", f"aevalsrc='{'|'.join(channels)}':s=48000")


_SLOW = video(4, fps="10")
_POOR = {
    "black.mp4": (
        "-f", "lavfi", "-t", "4", "-i", "color=black:s=160x120:r=10", *_tones(_TONE), *_H264, *_AAC,
    ),
    "black-for-seconds.mp4": (
        *video(6, fps="10"), *audio(6, 1),
        "-vf", "drawbox=color=black:t=fill:enable='between(t,2,4)'", *_H264, *_AAC,
    ),
    "frozen.mp4": (
        *_SLOW, *_tones(_TONE),
        "-vf", "trim=end_frame=1,loop=39:1,setpts=N/10/TB", *_H264, *_AAC,
    ),
    "still-for-six-seconds.mkv": (
        *video(4, fps="10"), *audio(10, 1),
        "-vf", "settb=1/1000,setpts='if(lt(N,20),N*100,N*100+6000)'", *_KEEP_TIMES, *_H264, *_AAC,
    ),
    "silent-track.mp4": (*_SLOW, *_tones("0"), *_H264, *_AAC),
    "clipped.mov": (
        *_SLOW, *_tones("clip(8*sin(440*2*PI*t),-1,1)"), *_H264, "-c:a", "pcm_s16le",
    ),
    "dead-channel.mov": (*_SLOW, *_tones(_TONE, "0"), *_H264, "-c:a", "pcm_s16le"),
    "antiphase.mov": (*_SLOW, *_tones(_TONE, f"-{_TONE}"), *_H264, "-c:a", "pcm_s16le"),
    "intact-audio.mp4": (*_SLOW, *_tones(_TONE), *_H264, *_AAC),
}  # fmt: skip

RECIPES: dict[str, tuple[str, ...]] = {**_RATES, **_VIDEO, **_AUDIO, **_PARTS, **_POOR}
