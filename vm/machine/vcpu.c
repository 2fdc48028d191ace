/* SPDX-License-Identifier: MIT */
/* The life of a vCPU: creation, power-on state, INIT and start-up IPIs, end. */
#include "vcpu.h"

#include "lib/format.h"
#include "lib/string.h"
#include "kernel/heap.h"
#include "kernel/thread.h"

#include "inject.h"
#include "msr_policy.h"

/* DR6.BS: the exception is a single step's. */
#define DR6_SINGLE_STEP BIT64(14)

static void release(struct vcpu *vcpu)
{
	if (vcpu->virt)
		vcpu->ops->vcpu_destroy(vcpu->virt);
	heap_free(vcpu->lazy.area, lazy_area_size());
	heap_free(vcpu, sizeof(*vcpu));
}

static q_status_t build(struct vcpu *vcpu, void (*body)(void *vcpu))
{
	void *area = heap_alloc(lazy_area_size());
	if (!area)
		return Q_NO_MEMORY;
	lazy_init(&vcpu->lazy, area);
	q_status_t status = vcpu->ops->vcpu_create(&vcpu->regs, &vcpu->virt);
	if (status != Q_OK)
		return status;
	char name[SERIAL_NAME_BYTES + 8];
	format_text(name, sizeof(name), "%s.%u", vcpu->machine->name, vcpu->index);
	return thread_create(name, THREAD_NORMAL, body, vcpu, &vcpu->thread);
}

q_status_t vcpu_create(struct machine *machine, unsigned index, void (*body)(void *vcpu),
		       struct vcpu **out_vcpu)
{
	_Static_assert(sizeof(struct vcpu) <= PAGE_SIZE, "a vCPU is one heap object");
	struct vcpu *vcpu = heap_alloc(sizeof(*vcpu));
	if (!vcpu)
		return Q_NO_MEMORY;
	vcpu->machine = machine;
	vcpu->ops = machine->ops;
	vcpu->index = index;
	vcpu->requests = VCPU_REQUEST_HOLD;
	q_status_t status = build(vcpu, body);
	if (status != Q_OK) {
		release(vcpu);
		return status;
	}
	*out_vcpu = vcpu;
	return Q_OK;
}

void vcpu_destroy(struct vcpu *vcpu)
{
	if (!vcpu)
		return;
	vcpu_request(vcpu, VCPU_REQUEST_END);
	thread_join(vcpu->thread);
	lazy_drop(&vcpu->lazy);
	release(vcpu);
}

void vcpu_request(struct vcpu *vcpu, uint32_t requests)
{
	atomic_or_acq_rel(&vcpu->requests, requests);
	/* NULL only in vcpu_create(): the new thread looks at `requests` before it first parks. */
	if (vcpu->thread)
		thread_unpark(vcpu->thread);
}

static void activity_set(struct vcpu *vcpu, enum vcpu_activity activity)
{
	vcpu->activity = activity;
	if (activity != VCPU_RUNNABLE)
		vcpu_request_self(vcpu, VCPU_REQUEST_SLEEP);
}

/* Resets what INIT also resets: registers, and events that were about to be delivered. */
static void reset_core(struct vcpu *vcpu)
{
	vcpu->ops->vcpu_reset(vcpu->virt);
	vcpu->ops->slat_root_set(vcpu->virt, pgm_slat_root(vcpu->machine->pgm));
	vcpu->ops->slat_flush(vcpu->virt);
	vcpu->ops->interrupt_window_set(vcpu->virt, false);
	vcpu->ops->tsc_offset_set(vcpu->virt, vcpu->tsc_adjust - vcpu->machine->start_tsc);
	vcpu->slat_generation = pgm_slat_generation(vcpu->machine->pgm);
	vcpu->queued.type = GUEST_EVENT_NONE;
	vcpu->window_is_set = false;
	vcpu->nmi_pending = false;
	vcpu->can_interrupt = false;
	vcpu->cr8 = vcpu->regs.cr8;
	vcpu->injection_is_due = true;
}

void vcpu_power_on(struct vcpu *vcpu)
{
	void *area = vcpu->lazy.area;
	lazy_drop(&vcpu->lazy);
	memset(area, 0, lazy_area_size());
	lazy_init(&vcpu->lazy, area);
	vcpu->tsc_adjust = 0;
	vcpu->mtrr_default = MSR_MTRR_DEFAULT_RESET;
	vcpu->devices_seen = 0;
	vcpu->system_time_msr = 0;
	vcpu->wall_clock_msr = 0;
	memset(&vcpu->lengths, 0, sizeof(vcpu->lengths));
	reset_core(vcpu);
	activity_set(vcpu, vcpu->index == 0 ? VCPU_RUNNABLE : VCPU_WAITS_START_UP);
}

/* Starts in real mode at the IPI's page: SDM vol. 3, "Typical AP Initialization Sequence". */
static void start_at(struct vcpu *vcpu, uint32_t entry)
{
	struct guest_state state;
	vcpu->ops->state_get(vcpu->virt, &state);
	state.segment[SEG_CS].selector = (uint16_t)(entry >> 4);
	state.segment[SEG_CS].base = entry;
	vcpu->regs.rip = 0;
	if (vcpu->ops->state_set(vcpu->virt, &state) == Q_OK)
		activity_set(vcpu, VCPU_RUNNABLE);
}

void vcpu_start_up(struct vcpu *vcpu, uint32_t requests)
{
	if (requests & VCPU_REQUEST_INIT) {
		reset_core(vcpu);
		activity_set(vcpu, VCPU_WAITS_START_UP);
	}
	if ((requests & VCPU_REQUEST_START_UP) && vcpu->activity == VCPU_WAITS_START_UP)
		start_at(vcpu, atomic_load_acquire(&vcpu->start_up_entry) & 0xff000);
}

void vcpu_skip_special(struct vcpu *vcpu, uint64_t from)
{
	struct guest_state state;
	vcpu->ops->state_get(vcpu->virt, &state);
	bool is_64bit = (state.efer & EFER_LMA) && (state.segment[SEG_CS].attributes & SEG_ATTR_L);
	if (!is_64bit && (from ^ vcpu->regs.rip) >> 32)
		vcpu->regs.rip = (uint32_t)vcpu->regs.rip;
	if (!(vcpu->regs.rflags & RFLAGS_TF))
		return;
	state.dr6 |= DR6_SINGLE_STEP;
	if (vcpu->ops->state_set(vcpu->virt, &state) == Q_OK)
		inject_exception(vcpu, VECTOR_DB);
}
