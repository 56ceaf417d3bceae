/*
 * banned.h: force-included into every file of ours. Functions that invite mistakes are compile errors.
 */
#ifndef SLIPWAY_BASE_BANNED_H
#define SLIPWAY_BASE_BANNED_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
/* Declares members that are called like one of them; only crypto/rsa.c and its test see it. */
#ifdef SLIPWAY_OPENSSL
#include <openssl/evp.h>
#include <openssl/x509.h>
#endif

#pragma GCC poison strcpy strcat sprintf vsprintf strncpy strncat strtok gets atoi atol atoll system popen localtime \
	gmtime rand srand

#endif
