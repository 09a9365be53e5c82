/* The score in percent of the threshold, at most 9999. */
static unsigned percent(const fedtiny_finding *finding) {
    const float share = 100.0f * (float)finding->score / (float)finding->threshold;
    return (share < 9999.0f) ? (unsigned)share : 9999u;
}
