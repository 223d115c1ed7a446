package import LinkProtocol

/// How long a service waits before it connects again: a pure policy, its randomness given.
///
/// The first retry is immediate, for most losses are a restart of the core. Then the wait is drawn anew each time
/// between the shortest and a ceiling that doubles, so that many services do not come back in step. A link that was
/// open for a while starts the count anew; one that is lost as soon as it opens does not, else it would spin. Ends
/// that only a person can mend wait a minute.
package struct LinkBackoff: Sendable {
    package struct Bounds: Sendable, Equatable {
        package var shortest: Duration
        package var longest: Duration
        /// After a violation of the protocol, a refused destination or node, or another process under the same node name.
        package var unmended: Duration
        /// A link open for so long counts as good.
        package var steady: Duration

        package init(
            shortest: Duration = .milliseconds(100), longest: Duration = .seconds(10),
            unmended: Duration = .seconds(60), steady: Duration = .seconds(10)
        ) {
            self.shortest = shortest
            self.longest = longest
            self.unmended = unmended
            self.steady = steady
        }
    }

    /// How an attempt or a link ended.
    package struct Ending: Sendable, Equatable {
        /// The core's close code, or the one this side closed with; nil when the connection failed or was cut.
        package var code: LinkCloseCode?
        /// How long the link was open, after welcome.
        package var openFor: Duration

        package init(code: LinkCloseCode?, openFor: Duration = .zero) {
            self.code = code
            self.openFor = openFor
        }
    }

    package let bounds: Bounds
    /// Endings in a row without a good link between.
    package private(set) var failures = 0

    package init(bounds: Bounds = Bounds()) { self.bounds = bounds }

    package mutating func delay(
        after ending: Ending, using random: inout some RandomNumberGenerator
    ) -> Duration {
        if ending.openFor >= bounds.steady { failures = 0 }
        failures += 1
        switch ending.code {
        case .protocolViolated, .notAllowed, .replaced, .superseded, .notListed: return bounds.unmended
        case .tooManyLinks: return bounds.longest
        default: break
        }
        guard failures > 1 else { return .zero }
        var ceiling = bounds.shortest * 2
        for _ in 2..<min(failures, 32) where ceiling < bounds.longest { ceiling *= 2 }
        return draw(from: bounds.shortest, to: min(ceiling, bounds.longest), using: &random)
    }

    private func draw(
        from low: Duration, to high: Duration, using random: inout some RandomNumberGenerator
    ) -> Duration {
        let span = Int64((high - low) / .microseconds(1))
        return low + .microseconds(Int64.random(in: 0...max(0, span), using: &random))
    }
}
