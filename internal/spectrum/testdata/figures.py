#!/usr/bin/env python3
"""Writes figures.json: spectra computed by NumPy and SciPy that the tests of this package compare with.

Run it with Debian's python3-scipy (1.10 made the committed file): python3 figures.py > figures.json
"""
import json
import sys

import numpy as np
import scipy
from scipy import signal

rng = np.random.default_rng(20240611)


def welch_case(n, nperseg, fs):
    t = np.arange(n) / fs
    x = 1000 + 40 * np.sin(2 * np.pi * 0.1234 * fs * t + 0.3) + rng.normal(0, 3, n)
    x = np.round(x, 3)
    f, p = signal.welch(x, fs, window="hann", nperseg=nperseg, detrend="constant", scaling="density")
    return {"fs": fs, "nperseg": nperseg, "x": x.tolist(), "f": f.tolist(), "psd": p.tolist()}


def spatial_case(h, w, dtype, window, channels=1):
    top = 256 if dtype == "uint8" else 4096
    y, x = np.mgrid[0:h, 0:w]
    img = top / 2 * (1 + 0.5 * np.sin(2 * np.pi * (x * 3 / w - y * 2 / h))) + rng.normal(0, top / 30, (channels, h, w))
    img = np.clip(np.round(img), 0, top - 1).astype(np.int64)
    plane = img.mean(axis=0)
    win = np.ones((h, w))
    if window == "hann":
        win = np.outer(signal.get_window("hann", h), signal.get_window("hann", w))
    d = (plane - plane.mean()) * win
    p = np.abs(np.fft.fft2(d)) ** 2 / (h * w * np.sum(win**2))
    fy, fx = np.meshgrid(np.fft.fftfreq(h), np.fft.fftfreq(w), indexing="ij")
    f = np.hypot(fy, fx)
    per = max(h, w)
    i = np.floor(f * per + 0.5).astype(int)
    count = np.bincount(i.ravel())
    total = np.bincount(i.ravel(), weights=p.ravel())
    return {
        "height": h, "width": w, "channels": channels, "dtype": dtype, "window": window,
        "pixels": img.ravel().tolist(),
        "mean": plane.mean(), "variance": np.sum(d**2) / np.sum(win**2),
        "power": p[:, : w // 2 + 1].ravel().tolist(),
        "radial": np.divide(total, count, out=np.zeros_like(total), where=count > 0).tolist(),
        "count": count.tolist(),
        "sharpness": np.sqrt(np.sum(f**2 * p) / np.sum(p)),
    }


json.dump(
    {
        "made_by": f"numpy {np.__version__}, scipy {scipy.__version__}",
        "welch": [welch_case(600, 128, 500.0), welch_case(256, 256, 30.0), welch_case(130, 64, 1e4), welch_case(333, 50, 24.0)],
        "spatial": [
            spatial_case(16, 16, "uint8", "none"),
            spatial_case(12, 20, "uint16", "hann"),
            spatial_case(7, 9, "uint16", "none"),
            spatial_case(15, 8, "uint8", "hann", channels=3),
            spatial_case(1, 24, "uint16", "none"),
            spatial_case(53, 4, "uint8", "none"),
        ],
    },
    sys.stdout,
)
sys.stdout.write("\n")
