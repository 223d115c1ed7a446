import Testing

/// Everything with real processes: one test after the other, for they share two cores and their time limits are real.
@Suite("The system as processes", .serialized) struct StoryTests {}
