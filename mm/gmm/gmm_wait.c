/* SPDX-License-Identifier: MIT */
/*
 * Waiting for memory: who gets what no reservation claims when there is not
 * enough of it for all who ask.
 *
 * A VM that was refused memory waits. Its turn comes by priority, and among
 * equals by how long it has waited. While anybody waits, unclaimed pages go
 *
 *   to the first waiter,
 *   to VMs that run and have a higher priority than the first waiter,
 *   and to nobody else: all others are refused, and so come to wait behind.
 *
 * Otherwise a VM that runs, and asks often, would take each page that comes
 * back before one that waits has looked. A VM inside its reservation needs no
 * turn: what it claims is there (G9).
 *
 * A place in the queue is a ticket number; the first of the queue is kept, so
 * that an allocation asks in constant time. Waits begin and end rarely, and only
 * then are all VMs looked at.
 *
 * Invariants, asserted by gmm_check():
 *   W1  Only live VMs have tickets; no two have the same, and none is above
 *       gmm.wait_ticket.
 *   W2  gmm.first_waiter has, of all VMs with a ticket, the highest priority,
 *       and of those the lowest ticket. It is QUIRE exactly if there are none.
 */
#include "mm/gmm/gmm.h"

#include <quire/assert.h>

#include "gmm_internal.h"

/* Both wait: is `a` served before `b`? */
static bool is_before(const struct gmm_vm *a, const struct gmm_vm *b)
{
	if (a->priority != b->priority)
		return a->priority > b->priority;
	return a->wait_ticket < b->wait_ticket;
}

void gmm_wait_update(void)
{
	gmm_vm_t first = GMM_VM_QUIRE;

	for (gmm_vm_t vm = 1; vm <= GMM_VM_LAST; vm++) {
		if (!gmm.vms[vm].wait_ticket)
			continue;
		if (first == GMM_VM_QUIRE || is_before(&gmm.vms[vm], &gmm.vms[first]))
			first = vm;
	}
	gmm.first_waiter = first;
}

/* May the VM have pages that no reservation claims, if there are any? */
static bool has_turn(gmm_vm_t handle) Q_REQUIRES(gmm.set_lock)
{
	if (gmm.first_waiter == GMM_VM_QUIRE || gmm.first_waiter == handle)
		return true;
	/* W2: one that waits itself is not above the first. */
	return gmm.vms[handle].priority > gmm.vms[gmm.first_waiter].priority;
}

uint64_t gmm_pages_for(gmm_vm_t vm)
{
	uint64_t own = gmm_vm_claims(gmm_vm_find(vm)).base;

	/* G17: it has chunks for all of its promise. */
	if (gmm_vm_find(vm)->is_bound)
		return ~0ull;
	/* G9: what is claimed is available. */
	uint64_t unclaimed = gmm_available_pages() - gmm.claims.base;
	if (unclaimed <= gmm.kept_for_sharing || !has_turn(vm))
		return own;
	return own + unclaimed - gmm.kept_for_sharing;
}

void gmm_wait_begin(gmm_vm_t vm)
{
	spin_lock(&gmm.set_lock);
	if (!gmm_vm_find(vm)->wait_ticket) {
		gmm.vms[vm].wait_ticket = ++gmm.wait_ticket;
		gmm_wait_update();
	}
	spin_unlock(&gmm.set_lock);
}

void gmm_wait_end_locked(gmm_vm_t vm)
{
	gmm_vm_find(vm)->wait_ticket = 0;
	gmm_wait_update();
}

void gmm_wait_end(gmm_vm_t vm)
{
	spin_lock(&gmm.set_lock);
	gmm_wait_end_locked(vm);
	spin_unlock(&gmm.set_lock);
}

gmm_vm_t gmm_wait_first(void)
{
	spin_lock(&gmm.set_lock);
	gmm_vm_t first = gmm.first_waiter;
	spin_unlock(&gmm.set_lock);
	return first;
}

/* --- checks --------------------------------------------------------------------------------- */

/* W1 */
static void ticket_check(gmm_vm_t handle) Q_REQUIRES(gmm.set_lock)
{
	const struct gmm_vm *vm = &gmm.vms[handle];

	Q_ASSERT(vm->is_live && vm->wait_ticket <= gmm.wait_ticket);
	for (gmm_vm_t other = 1; other < handle; other++)
		Q_ASSERT(gmm.vms[other].wait_ticket != vm->wait_ticket);
}

void gmm_wait_check(void)
{
	const struct gmm_vm *first = &gmm.vms[gmm.first_waiter];
	bool has_waiter = false;

	for (gmm_vm_t vm = 1; vm <= GMM_VM_LAST; vm++) {
		if (!gmm.vms[vm].wait_ticket)
			continue;
		ticket_check(vm);
		has_waiter = true;
		/* W2: nobody is before the first. */
		Q_ASSERT(first->wait_ticket && !is_before(&gmm.vms[vm], first));
	}
	Q_ASSERT(has_waiter == (gmm.first_waiter != GMM_VM_QUIRE));
}
