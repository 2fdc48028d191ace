/* SPDX-License-Identifier: MIT */
/* Seconds since 1970 and the Gregorian calendar, both ways, without tables. */
#ifndef DEVICES_PC_VCALENDAR_H
#define DEVICES_PC_VCALENDAR_H

#include <quire/compiler.h>

struct vcalendar {
	unsigned year;
	unsigned month;   /* 1..12 */
	unsigned day;     /* 1..31 */
	unsigned weekday; /* 1 is Sunday */
	unsigned hour, minute, second;
};

/* Right up to the year 9999; later times become the last second of it. */
struct vcalendar vcalendar_from_seconds(uint64_t seconds);
/* Fields out of range are brought into it first; years before 1970 become 1970. */
uint64_t vcalendar_to_seconds(const struct vcalendar *date);

#endif
