/*
 * style.h: the one style of the plain pages. Its hash stands in the Content-Security-Policy.
 */
#ifndef SLIPWAY_CONSOLE_STYLE_H
#define SLIPWAY_CONSOLE_STYLE_H

extern const char console_style[];

#endif
