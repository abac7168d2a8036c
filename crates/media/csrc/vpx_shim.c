/* VP8 through libvpx behind a handful of functions with plain types: the versioned structs of libvpx stay on this
 * side. Only the VP8 interfaces are named, so a static link leaves VP9 out. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <vpx/vp8cx.h>
#include <vpx/vp8dx.h>
#include <vpx/vpx_decoder.h>
#include <vpx/vpx_encoder.h>

typedef struct {
    vpx_codec_ctx_t ctx;
    vpx_codec_enc_cfg_t cfg;
} scope_vp8_encoder;

/* A real-time, one-thread, constant-bitrate encoder with a 90 kHz clock; NULL when libvpx refuses. */
scope_vp8_encoder *scope_vp8_encoder_new(unsigned width, unsigned height, unsigned kbps, int cpu_used) {
    scope_vp8_encoder *e = calloc(1, sizeof *e);
    if (!e) return NULL;
    vpx_codec_enc_cfg_t *c = &e->cfg;
    if (vpx_codec_enc_config_default(vpx_codec_vp8_cx(), c, 0) != VPX_CODEC_OK) {
        free(e);
        return NULL;
    }
    c->g_w = width;
    c->g_h = height;
    c->g_timebase.num = 1;
    c->g_timebase.den = 90000;
    c->g_threads = 1;
    c->g_lag_in_frames = 0;
    c->g_pass = VPX_RC_ONE_PASS;
    c->rc_end_usage = VPX_CBR;
    c->rc_target_bitrate = kbps;
    c->rc_min_quantizer = 2;
    c->rc_max_quantizer = 56;
    c->rc_undershoot_pct = 100;
    c->rc_overshoot_pct = 15;
    c->rc_buf_initial_sz = 500;
    c->rc_buf_optimal_sz = 600;
    c->rc_buf_sz = 1000;
    c->rc_dropframe_thresh = 0;
    /* Keyframes come when asked for, never by themselves: a keyframe is a spike in rate. */
    c->kf_mode = VPX_KF_DISABLED;
    if (vpx_codec_enc_init(&e->ctx, vpx_codec_vp8_cx(), c, 0) != VPX_CODEC_OK) {
        free(e);
        return NULL;
    }
    int bad = vpx_codec_control(&e->ctx, VP8E_SET_CPUUSED, cpu_used);
    bad |= vpx_codec_control(&e->ctx, VP8E_SET_STATIC_THRESHOLD, 1);
    bad |= vpx_codec_control(&e->ctx, VP8E_SET_MAX_INTRA_BITRATE_PCT, 450);
    bad |= vpx_codec_control(&e->ctx, VP8E_SET_NOISE_SENSITIVITY, 0);
    bad |= vpx_codec_control(&e->ctx, VP8E_SET_TOKEN_PARTITIONS, VP8_ONE_TOKENPARTITION);
    if (bad) {
        vpx_codec_destroy(&e->ctx);
        free(e);
        return NULL;
    }
    return e;
}

/* 0, or libvpx's error code. */
int scope_vp8_encoder_set_bitrate(scope_vp8_encoder *e, unsigned kbps) {
    e->cfg.rc_target_bitrate = kbps;
    return vpx_codec_enc_config_set(&e->ctx, &e->cfg);
}

/* Encodes packed I420 of the encoder's (even) size. 0, or libvpx's error code. *data is NULL when the frame was
 * skipped, otherwise it stays valid until the next call on `e`. */
int scope_vp8_encoder_encode(scope_vp8_encoder *e, const uint8_t *i420, int64_t pts, unsigned long duration,
                             int force_keyframe, const uint8_t **data, size_t *len, int *keyframe) {
    *data = NULL;
    *len = 0;
    *keyframe = 0;
    vpx_image_t image;
    if (!vpx_img_wrap(&image, VPX_IMG_FMT_I420, e->cfg.g_w, e->cfg.g_h, 1, (unsigned char *)i420)) {
        return VPX_CODEC_INVALID_PARAM;
    }
    vpx_enc_frame_flags_t flags = force_keyframe ? VPX_EFLAG_FORCE_KF : 0;
    vpx_codec_err_t err = vpx_codec_encode(&e->ctx, &image, pts, duration, flags, VPX_DL_REALTIME);
    if (err != VPX_CODEC_OK) return err;
    vpx_codec_iter_t iter = NULL;
    const vpx_codec_cx_pkt_t *packet;
    while ((packet = vpx_codec_get_cx_data(&e->ctx, &iter))) {
        /* One packet a frame: neither lag nor partitioned output is on. */
        if (packet->kind != VPX_CODEC_CX_FRAME_PKT) continue;
        *data = packet->data.frame.buf;
        *len = packet->data.frame.sz;
        *keyframe = (packet->data.frame.flags & VPX_FRAME_IS_KEY) != 0;
        break;
    }
    return VPX_CODEC_OK;
}

void scope_vp8_encoder_free(scope_vp8_encoder *e) {
    vpx_codec_destroy(&e->ctx);
    free(e);
}

typedef struct {
    vpx_codec_ctx_t ctx;
} scope_vp8_decoder;

scope_vp8_decoder *scope_vp8_decoder_new(void) {
    scope_vp8_decoder *d = calloc(1, sizeof *d);
    if (!d) return NULL;
    vpx_codec_dec_cfg_t cfg = {.threads = 1};
    if (vpx_codec_dec_init(&d->ctx, vpx_codec_vp8_dx(), &cfg, 0) != VPX_CODEC_OK) {
        free(d);
        return NULL;
    }
    return d;
}

typedef struct {
    const uint8_t *planes[3];
    int strides[3];
    unsigned width, height;
} scope_vp8_picture;

/* 0, or libvpx's error code. picture->planes[0] is NULL when there is nothing to show; the planes stay valid until
 * the next call on `d`. */
int scope_vp8_decoder_decode(scope_vp8_decoder *d, const uint8_t *data, unsigned len, scope_vp8_picture *picture) {
    picture->planes[0] = NULL;
    vpx_codec_err_t err = vpx_codec_decode(&d->ctx, data, len, NULL, 0);
    if (err != VPX_CODEC_OK) return err;
    vpx_codec_iter_t iter = NULL;
    vpx_image_t *image = vpx_codec_get_frame(&d->ctx, &iter);
    if (!image) return VPX_CODEC_OK;
    if (image->fmt != VPX_IMG_FMT_I420) return VPX_CODEC_UNSUP_BITSTREAM;
    for (int i = 0; i < 3; i++) {
        picture->planes[i] = image->planes[i];
        picture->strides[i] = image->stride[i];
    }
    picture->width = image->d_w;
    picture->height = image->d_h;
    return VPX_CODEC_OK;
}

void scope_vp8_decoder_free(scope_vp8_decoder *d) {
    vpx_codec_destroy(&d->ctx);
    free(d);
}

const char *scope_vpx_error(int code) { return vpx_codec_err_to_string((vpx_codec_err_t)code); }
