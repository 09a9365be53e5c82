#ifndef FREERTOS_H
#define FREERTOS_H
#include <stddef.h>
#include <stdint.h>

typedef uint32_t TickType_t;
typedef struct QueueDefinition *QueueHandle_t;
#define pdMS_TO_TICKS(ms) ((TickType_t)((ms) / 10))

#endif
