/* A board whose serial port is standard output. */
#include "Arduino.h"

#include <stdio.h>

HardwareSerial Serial;

void setup();
void loop();

extern "C" {
void pinMode(pin_size_t, PinMode) {}
void digitalWrite(pin_size_t, PinStatus) {}
void delay(unsigned long) {}
}

size_t Print::print(const char text[]) { return (size_t)fputs(text, stdout); }
size_t Print::print(int value, int) { return (size_t)printf("%d", value); }
size_t Print::print(unsigned int value, int) { return (size_t)printf("%u", value); }
size_t Print::println(const char text[]) { return (size_t)puts(text); }
size_t Print::println(int value, int) { return (size_t)printf("%d\n", value); }
void HardwareSerial::begin(unsigned long) {}
int HardwareSerial::available() { return 0; }
int HardwareSerial::read() { return -1; }

int main() {
    setup();
    for (;;) {
        loop();
    }
}
