/* SPDX-License-Identifier: MIT */
/*
 * Years begin in March here, so that the leap day is the last day of the year and
 * one formula gives the first day of month m (March is 0): (153 m + 2) / 5. Days are
 * counted from 1 March of year 0, in eras of 400 years.
 */
#include "vcalendar.h"

#define DAYS_PER_ERA    146097u
#define DAYS_TO_1970    719468u /* from 1 March of year 0 */
#define SECONDS_PER_DAY 86400u
#define SECONDS_LAST    253402300799ull /* 9999-12-31 23:59:59 */

static unsigned days_before_month(unsigned month_from_march)
{
	return (153 * month_from_march + 2) / 5;
}

struct vcalendar vcalendar_from_seconds(uint64_t seconds)
{
	if (seconds > SECONDS_LAST)
		seconds = SECONDS_LAST;
	unsigned days = (unsigned)(seconds / SECONDS_PER_DAY) + DAYS_TO_1970;
	unsigned rest = (unsigned)(seconds % SECONDS_PER_DAY);
	unsigned era = days / DAYS_PER_ERA;
	unsigned day_of_era = days % DAYS_PER_ERA;
	/* Without the leap days, every year has 365 days. */
	unsigned leap_days = day_of_era / 1460 - day_of_era / 36524 + day_of_era / 146096;
	unsigned year_of_era = (day_of_era - leap_days) / 365;
	unsigned first_day = 365 * year_of_era + year_of_era / 4 - year_of_era / 100;
	unsigned day_of_year = day_of_era - first_day;
	unsigned month = (5 * day_of_year + 2) / 153;
	bool is_next_year = month >= 10; /* January and February */

	return (struct vcalendar){
		.year = era * 400 + year_of_era + is_next_year,
		.month = is_next_year ? month - 9 : month + 3,
		.day = day_of_year - days_before_month(month) + 1,
		.weekday = (days + 3) % 7 + 1,
		.hour = rest / 3600,
		.minute = rest / 60 % 60,
		.second = rest % 60,
	};
}

static unsigned clamp(unsigned value, unsigned low, unsigned high)
{
	if (value < low)
		return low;
	return value > high ? high : value;
}

uint64_t vcalendar_to_seconds(const struct vcalendar *date)
{
	unsigned month = clamp(date->month, 1, 12);
	unsigned year = clamp(date->year, 1970, 9999) - (month <= 2);
	unsigned month_from_march = month <= 2 ? month + 9 : month - 3;
	unsigned leap_days = year / 4 - year / 100 + year / 400;
	uint64_t days = 365 * year + leap_days + days_before_month(month_from_march) +
			clamp(date->day, 1, 31) - 1 - DAYS_TO_1970;
	return days * SECONDS_PER_DAY + clamp(date->hour, 0, 23) * 3600 +
	       clamp(date->minute, 0, 59) * 60 + clamp(date->second, 0, 59);
}
