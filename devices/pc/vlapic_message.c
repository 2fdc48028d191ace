/* SPDX-License-Identifier: MIT */
/*
 * Messages between APICs: which APICs they address, and what they do there.
 *
 * A vCPU's APIC ID is its index, so a physical destination needs no search.
 * Interrupts between CPUs are always edges. A PC without SMM and with one PIC has no
 * use for SMI and for ExtINT by message: such messages are dropped.
 *
 * Reference: Intel SDM vol. 3, "Issuing Interprocessor Interrupts" and
 * "Logical Destination Mode in x2APIC Mode".
 */
#include "vlapic.h"

#include <quire/assert.h>

#include "vpc_internal.h"

#define ICR_LOGICAL   BIT32(11)
#define ICR_ASSERT    BIT32(14)
#define ICR_LEVEL     BIT32(15)
#define ICR_SHORTHAND MASK64(19, 18)

enum icr_shorthand { SHORT_NONE, SHORT_SELF, SHORT_ALL, SHORT_OTHERS };

#define XAPIC_BROADCAST  0xffu
#define X2APIC_BROADCAST 0xffffffffu
#define DFR_FLAT         0xfu
#define DFR_MODEL_SHIFT  28u

static bool matches_logical_xapic(const struct vlapic *lapic, uint32_t destination)
{
	uint32_t own = lapic->regs[LAPIC_LDR] >> 24;
	if (lapic->regs[LAPIC_DFR] >> DFR_MODEL_SHIFT == DFR_FLAT)
		return (own & destination) != 0;
	return own >> 4 == destination >> 4 && (own & destination & 0xf) != 0;
}

static bool matches_logical_x2apic(const struct vlapic *lapic, uint32_t destination)
{
	uint32_t own = lapic->regs[LAPIC_LDR];
	return own >> 16 == destination >> 16 && (own & destination & 0xffff) != 0;
}

static bool is_addressed(const struct vlapic *lapic, uint32_t destination, bool is_logical)
{
	bool is_x2apic = vlapic_is_x2apic(lapic);

	if (destination == X2APIC_BROADCAST || (!is_x2apic && destination == XAPIC_BROADCAST))
		return true;
	if (!is_logical)
		return destination == lapic->index;
	return is_x2apic ? matches_logical_x2apic(lapic, destination)
			 : matches_logical_xapic(lapic, destination);
}

static void initialise(struct vpc *vpc, struct vlapic *lapic)
{
	lapic->is_nmi_pending = false;
	vlapic_registers_reset(vpc, lapic);
	vpc->host->start_up(vpc->vm, lapic->index, true, 0);
}

/* False if the APIC does not take the message. */
static bool deliver(struct vpc *vpc, struct vlapic *lapic, const struct vlapic_message *message)
{
	if (!vlapic_is_enabled(lapic))
		return false;
	switch ((enum vlapic_delivery)message->mode) {
	case DELIVERY_FIXED:
	case DELIVERY_LOWEST: return vlapic_accept(vpc, lapic, message->vector, message->is_level);
	case DELIVERY_NMI: vlapic_nmi(vpc, lapic); return true;
	case DELIVERY_INIT: initialise(vpc, lapic); return true;
	case DELIVERY_STARTUP:
		vpc->host->start_up(vpc->vm, lapic->index, false, (uint32_t)message->vector << 12);
		return true;
	case DELIVERY_SMI:
	case DELIVERY_RESERVED:
	case DELIVERY_EXTINT: return false;
	}
	Q_ASSERT(!"APIC delivery mode");
	return false;
}

/* Sends to the addressed APIC with the lowest priority; of several, to the first. */
static bool send_lowest(struct vpc *vpc, const struct vlapic_message *message)
{
	struct vlapic *chosen = NULL;
	for (unsigned i = 0; i < vpc->vcpu_count; i++) {
		struct vlapic *lapic = &vpc->lapics[i];
		bool can_take = vlapic_is_enabled(lapic) &&
				(lapic->regs[LAPIC_SVR] & LAPIC_SVR_ENABLED) &&
				is_addressed(lapic, message->destination, message->is_logical);
		if (can_take && (!chosen || lapic->regs[LAPIC_PPR] < chosen->regs[LAPIC_PPR]))
			chosen = lapic;
	}
	return chosen && deliver(vpc, chosen, message);
}

bool vlapic_message_send(struct vpc *vpc, const struct vlapic_message *message)
{
	if (!message->is_logical && message->destination < vpc->vcpu_count)
		return deliver(vpc, &vpc->lapics[message->destination], message);
	if (message->mode == DELIVERY_LOWEST)
		return send_lowest(vpc, message);
	bool is_taken = false;
	for (unsigned i = 0; i < vpc->vcpu_count; i++) {
		struct vlapic *lapic = &vpc->lapics[i];
		if (is_addressed(lapic, message->destination, message->is_logical))
			is_taken |= deliver(vpc, lapic, message);
	}
	return is_taken;
}

static void send_all(struct vpc *vpc, const struct vlapic_message *message,
		     const struct vlapic *except)
{
	for (unsigned i = 0; i < vpc->vcpu_count; i++)
		if (&vpc->lapics[i] != except)
			(void)deliver(vpc, &vpc->lapics[i], message);
}

void vlapic_icr_send(struct vpc *vpc, struct vlapic *lapic, uint32_t command, uint32_t destination)
{
	struct vlapic_message message = {
		.destination = destination,
		.is_logical = command & ICR_LOGICAL,
		.mode = (uint8_t)field_get(command, LAPIC_ICR_MODE),
		.vector = (uint8_t)field_get(command, LAPIC_VECTOR),
	};
	bool has_vector = message.mode == DELIVERY_FIXED || message.mode == DELIVERY_LOWEST;

	if (has_vector && message.vector < LAPIC_VECTOR_MIN) {
		vlapic_error(vpc, lapic, LAPIC_ERROR_SEND_VECTOR);
		return;
	}
	/* De-asserting INIT only synchronised arbitration, before the Pentium 4. */
	if (message.mode == DELIVERY_INIT && (command & ICR_LEVEL) && !(command & ICR_ASSERT))
		return;
	switch ((enum icr_shorthand)field_get(command, ICR_SHORTHAND)) {
	case SHORT_NONE: (void)vlapic_message_send(vpc, &message); break;
	case SHORT_SELF: (void)deliver(vpc, lapic, &message); break;
	case SHORT_ALL: send_all(vpc, &message, NULL); break;
	case SHORT_OTHERS: send_all(vpc, &message, lapic); break;
	}
}
