import Diagnostics
import Testing

@testable import ServiceRuntime

@Suite("Declarations")
struct DeclarationTests {
    private var declared: [Event] { Event.all + Alarm.all.map(\.event) }

    @Test("ids and message ids are used once, and message ids are 32 lower-case hexadecimal digits")
    func ids() {
        #expect(Set(declared.map(\.id)).count == declared.count)
        #expect(Set(declared.map(\.messageID)).count == declared.count)
        for event in declared {
            #expect(event.messageID.wholeMatch(of: /[0-9a-f]{32}/) != nil, "\(event.id)")
            #expect(event.id.wholeMatch(of: /HDS(-[A-Z]+)+/) != nil, "\(event.id)")
        }
    }

    @Test("every line shows declared fields only, and what needs attention says what to do")
    func texts() {
        let known = Set(LogField.all.map(\.name))
        for event in declared {
            for field in event.message.fieldNames { #expect(known.contains(field), "\(event.id): \(field)") }
            #expect(!event.explanation.isEmpty)
            if event.severity >= .error { #expect(event.fix != nil, "\(event.id)") }
        }
    }

    @Test("names of fields are such that journald keeps them, and stand once")
    func fields() {
        #expect(Set(LogField.all).count == LogField.all.count)
        for field in LogField.all { #expect(FieldName.isValid(field.name) && !field.meaning.isEmpty, "\(field)") }
    }

    @Test("names of metrics follow the conventions and stand once")
    func metrics() {
        #expect(Set(Metric.all).count == Metric.all.count)
        for metric in Metric.all {
            #expect(metric.name.wholeMatch(of: /(hds|process)(_[a-z]+)+/) != nil, "\(metric.name)")
            #expect(metric.name.hasSuffix("_total") == (metric.kind == .counter), "\(metric.name)")
            #expect(metric.help.hasSuffix("."), "\(metric.name)")
            if case .histogram(let bounds) = metric.kind {
                #expect(bounds == bounds.sorted() && Set(bounds).count == bounds.count)
            }
        }
    }

    @Test("a template puts values where the fields stand and a dash where one is absent")
    func template() {
        let template: MessageTemplate = "@STATUS@ for @KMS_METHOD@, again @STATUS@"
        #expect(template.text([.status: Loggable(7)]) == "7 for -, again 7")
        #expect(template.fieldNames == ["STATUS", "KMS_METHOD", "STATUS"])
        #expect(template.shows(.kmsMethod) && !template.shows(.reason))
    }
}

@Suite("Loggable")
struct LoggableTests {
    @Test("a redacted value prints as such in every way a value can print")
    func redacted() {
        let secret = Redacted("hunter2")
        var dumped = ""
        dump(secret, to: &dumped)
        for text in ["\(secret)", String(describing: secret), String(reflecting: secret), dumped, "\([secret])"] {
            #expect(!text.contains("hunter2"))
        }
        let line: Loggable = "token \(secret) of \(7)"
        #expect(line.text == "token [redacted] of 7")
        #expect(secret.reveal { $0.count } == 7)
    }

    @Test("an error of a library gives its type, never its contents")
    func errors() {
        struct Leaky: Error { let token = "hunter2" }
        #expect(Loggable(error: Leaky()).text == "an error of type Leaky without a diagnosis")
        let diagnosed = DiagnosedError("a-b", fault: .store, "it broke", expected: "x", found: "y", hint: "mend it")
        #expect(Loggable(error: diagnosed).text == "it broke; expected x, found y; mend it [a-b]")
    }

    @Test("fields keep their order, leave out what is absent and can be changed")
    func fields() {
        var fields: LogFields = [.status: Loggable(1), .reason: nil, .userID: "u"]
        #expect(fields.entries.map(\.field) == [.status, .userID])
        fields[.status] = Loggable(2)
        fields[.reason] = "r"
        fields[.userID] = nil
        #expect(fields.entries.map(\.value.text) == ["2", "r"])
    }
}

@Suite("Metrics")
struct MetricsTests {
    private static let requests = Metric("hds_x_total", .counter, "Help with \"quotes\" and \\.", labels: ["a", "b"])
    private static let times = Metric("hds_t_seconds", .histogram(bounds: [0.1, 1]), "T.")

    @Test("the same labels give the same instrument, from any thread")
    func identity() async {
        let registry = MetricRegistry()
        await withTaskGroup { group in
            for _ in 0..<8 {
                group.addTask { for _ in 0..<1000 { registry.counter(Self.requests, ["x", "y"]).increment() } }
            }
        }
        #expect(registry.counter(Self.requests, ["x", "y"]).value == 8000)
        #expect(registry.counter(Self.requests, ["x", "z"]).value == 0)
    }

    @Test("a gauge adds up under contention")
    func gauge() async {
        let gauge = Gauge()
        await withTaskGroup { group in
            for _ in 0..<8 { group.addTask { for _ in 0..<1000 { gauge.add(0.5) } } }
        }
        #expect(gauge.value == 4000)
        gauge.set(true)
        #expect(gauge.value == 1)
    }

    @Test("label values without end share one series")
    func cardinality() {
        let registry = MetricRegistry()
        for index in 0..<2000 { registry.counter(Self.requests, ["\(index)", "y"]).increment() }
        let series = registry.collect()[0].series
        #expect(series.count == MetricRegistry.maximumSeries + 1)
        #expect(registry.counter(Self.requests, ["other", "other"]).value == 1500)
    }

    @Test("the text is what Prometheus reads")
    func text() {
        let registry = MetricRegistry()
        registry.counter(Self.requests, ["x", "say \"hi\"\n\\"]).increment(by: 3)
        let times = registry.histogram(Self.times)
        times.observe(0.05)
        times.observe(.milliseconds(100))
        times.observe(2.5)
        registry.read(Metric("hds_free_bytes", .gauge, "F.")) { 1.5 }
        #expect(
            PrometheusText.of(registry.collect()) == """
                # HELP hds_free_bytes F.
                # TYPE hds_free_bytes gauge
                hds_free_bytes 1.5
                # HELP hds_t_seconds T.
                # TYPE hds_t_seconds histogram
                hds_t_seconds_bucket{le="0.1"} 2
                hds_t_seconds_bucket{le="1"} 2
                hds_t_seconds_bucket{le="+Inf"} 3
                hds_t_seconds_sum 2.65
                hds_t_seconds_count 3
                # HELP hds_x_total Help with "quotes" and \\\\.
                # TYPE hds_x_total counter
                hds_x_total{a="x",b="say \\"hi\\"\\n\\\\"} 3

                """)
    }

    @Test("the process is measured")
    func process() {
        let registry = MetricRegistry()
        ProcessMetrics.register(in: registry)
        let values = Dictionary(
            uniqueKeysWithValues: registry.collect().map { family -> (Metric, Double) in
                guard case .number(let value)? = family.series.first?.value else { return (family.metric, -1) }
                return (family.metric, value)
            })
        let memory = values[.processResidentMemory] ?? 0
        #expect(memory > 1e6 && memory < 1e12)
        #expect((values[.processPrivateMemory] ?? 0) <= memory)
        #expect((values[.processOpenFiles] ?? 0) >= 3)
        #expect((values[.processMaximumFiles] ?? 0) >= 64)
        #expect((values[.processThreads] ?? 0) >= 1)
        #expect((values[.processCPU] ?? 0) > 0)
        #expect((values[.processStart] ?? 0) > 1.7e9)
    }
}
