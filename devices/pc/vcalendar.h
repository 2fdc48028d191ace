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

/* Correct up to the year 9999; later times become its last second. */
struct vcalendar vcalendar_from_seconds(uint64_t seconds);
/* Clamps fields that are out of range first; years before 1970 become 1970. */
uint64_t vcalendar_to_seconds(const struct vcalendar *date);

#endif
