/* The checksum of Ethernet, zlib and PNG: reflected, polynomial 0x04C11DB7. */
#ifndef FEDTINY_CRC_H
#define FEDTINY_CRC_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* CRC-32 of count bytes; crc: 0, or what came out for the bytes before these. */
uint32_t fedtiny_crc32(uint32_t crc, const uint8_t *bytes, size_t count);

#ifdef __cplusplus
}
#endif

#endif
