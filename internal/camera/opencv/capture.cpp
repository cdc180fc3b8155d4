//go:build opencv

#include "capture.h"

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <vector>

#include <opencv2/core.hpp>
#include <opencv2/videoio.hpp>

struct sluice_capture {
    cv::VideoCapture cap;
};

sluice_capture *sluice_open(const char *uri, int api, const int *params, int n, char *why, int why_size) {
    // FFmpeg writes a line on stderr for every damaged macroblock: errors are ours to report, in one line. OpenCV takes
    // the level from here alone, when it first opens something; who has set it wants to see more.
    static std::once_flag quiet;
    std::call_once(quiet, [] { setenv("OPENCV_FFMPEG_LOGLEVEL", "-8", 0); });
    why[0] = 0;
    sluice_capture *c = nullptr;
    try {
        c = new sluice_capture;
        if (c->cap.open(uri, api, std::vector<int>(params, params + 2 * n))) {
            return c;
        }
    } catch (const std::exception &e) {
        std::snprintf(why, why_size, "%s", e.what());
    } catch (...) {
        std::snprintf(why, why_size, "unknown exception");
    }
    delete c;
    return nullptr;
}

int sluice_grab(sluice_capture *c) {
    try {
        return c->cap.grab();
    } catch (...) {
        return 0;
    }
}

int sluice_retrieve(sluice_capture *c, void *mat) {
    try {
        return c->cap.retrieve(*static_cast<cv::Mat *>(mat)) && !static_cast<cv::Mat *>(mat)->empty();
    } catch (...) {
        return 0;
    }
}

double sluice_get(sluice_capture *c, int prop) {
    try {
        return c->cap.get(prop);
    } catch (...) {
        return 0;
    }
}

void sluice_close(sluice_capture *c) {
    try {
        delete c;
    } catch (...) {
    }
}

int sluice_planes(void *mat, int rows, int cols, int grey, uint8_t *dst, int64_t bytes) {
    try {
        const cv::Mat &m = *static_cast<cv::Mat *>(mat);
        const int channels = grey ? 1 : 3;
        if (m.rows != rows || m.cols != cols || m.channels() != channels && !(grey && m.channels() == 3)) {
            return 0;
        }
        const int64_t plane = int64_t(rows) * cols * m.elemSize1();
        if (plane * channels != bytes) {
            return 0;
        }
        if (grey) {
            cv::Mat out(rows, cols, CV_MAKETYPE(m.depth(), 1), dst);
            cv::extractChannel(m, out, 0);
            return out.data == dst;
        }
        // Of the right size and type already, so split writes where they are.
        cv::Mat planes[3];
        for (int i = 0; i < 3; i++) {
            planes[i] = cv::Mat(rows, cols, CV_MAKETYPE(m.depth(), 1), dst + plane * (2 - i));
        }
        cv::split(m, planes);
        return planes[0].data == dst + 2 * plane;
    } catch (...) {
        return 0;
    }
}
