/* What the sketches use of Arduino's core, with its signatures (ArduinoCore-API: Common.h, Print.h, HardwareSerial.h). */
#ifndef ARDUINO_H
#define ARDUINO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define LED_BUILTIN 13
typedef uint8_t pin_size_t;
typedef enum { LOW = 0, HIGH = 1 } PinStatus;
typedef enum { INPUT = 0, OUTPUT = 1 } PinMode;

extern "C" {
void pinMode(pin_size_t pin, PinMode mode);
void digitalWrite(pin_size_t pin, PinStatus status);
void delay(unsigned long ms);
}

class Print {
  public:
    size_t print(const char text[]);
    size_t print(int value, int base = 10);
    size_t print(unsigned int value, int base = 10);
    size_t println(const char text[]);
    size_t println(int value, int base = 10);
};

class HardwareSerial : public Print {
  public:
    void begin(unsigned long baud);
    int available(void);
    int read(void);
};

extern HardwareSerial Serial;

#endif
