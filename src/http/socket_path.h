/*
 * socket_path.h: unix socket names longer than the kernel's 107 bytes, by way of a descriptor of their directory.
 */
#ifndef SLIPWAY_HTTP_SOCKET_PATH_H
#define SLIPWAY_HTTP_SOCKET_PATH_H

#include "base/err.h"

#define SOCKET_PATH_SIZE 108 /* sizeof(sun_path) */

/* Writes a name that fits; *ret_dir_fd is -1, or a descriptor that must stay open for as long as the name is used. */
int socket_path_short(const char *path, char ret[SOCKET_PATH_SIZE], int *ret_dir_fd, struct err *e);

#endif
