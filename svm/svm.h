/* SPDX-License-Identifier: MIT */
/* The AMD-V backend. Its twin is vmx/. */
#ifndef SVM_SVM_H
#define SVM_SVM_H

#include <quire/virt_ops.h>

/*
 * Called once, on the boot CPU. Returns NULL if this machine cannot run guests this way:
 * then *out_status is Q_UNSUPPORTED and *out_reason one sentence for the operator.
 */
const struct virt_ops *svm_probe(q_status_t *out_status, const char **out_reason);

#endif
