/*
 * Watches one machine: what a sensor gives goes in, an alarm comes out on the board's LED. Replace the function marked
 * YOUR; the rest can stay. A new head comes over the serial line: see README.md.
 */
#include <@{name}_model.h>

@{code}

@{heads}

@{show}

static void show(const fedtiny_finding *finding) {
    if (finding->verdict == FEDTINY_LEARNING) {
        Serial.print("learning, ");
        Serial.print((unsigned)finding->learned);
        Serial.println(" %");
    } else if (finding->verdict == FEDTINY_STILL) {
        Serial.println("standing still");
    } else if (finding->verdict == FEDTINY_SENSOR) {
        Serial.println("the sensor gives nothing that can be judged");
    } else {
        Serial.print("score is ");
        Serial.print(percent(finding));
        Serial.println(" % of the threshold");
    }
    if (finding->changed) {
        digitalWrite(LED_BUILTIN, (finding->alarm == FEDTINY_RAISED) ? HIGH : LOW);
    }
}

void setup() {
    Serial.begin(115200);
    pinMode(LED_BUILTIN, OUTPUT);
    if ((@{name}_model_selftest(&machine) != FEDTINY_OK) || (fedtiny_start(&machine) != FEDTINY_OK)) {
        for (;;) {
            Serial.println("this build does not compute what it should: see README.md, self-test");
            delay(1000);
        }
    }
    start_heads();
}

void loop() {
    fedtiny_finding finding;
    while (Serial.available() > 0) {
        const uint8_t byte_in = (uint8_t)Serial.read();
        const fedtiny_status head = receive_head(&byte_in, 1);
        if (head != FEDTINY_MORE) {
            Serial.println(head_news(head));
        }
    }
    if (watch_machine(&finding)) {
        show(&finding);
    }
}
