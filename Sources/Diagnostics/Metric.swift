/// A declared metric: its name, kind, unit and labels, in the conventions of Prometheus.
///
/// Names end in their unit (`_seconds`, `_bytes`) and counters in `_total`. Label values are closed sets or small
/// ones, never identifiers of users, keys or spaces. The declarations below are the one source of names.
package struct Metric: Sendable, Hashable {
    package enum Kind: Sendable, Hashable {
        case counter
        case gauge
        /// Upper bounds of the buckets in rising order, in the metric's unit; `+Inf` is implied.
        case histogram(bounds: [Double])

        package var name: String {
            switch self {
            case .counter: "counter"
            case .gauge: "gauge"
            case .histogram: "histogram"
            }
        }
    }

    package let name: String
    package let kind: Kind
    package let help: String
    /// Names of the labels, in the order in which values are given.
    package let labels: [String]

    package init(_ name: String, _ kind: Kind, _ help: String, labels: [String] = []) {
        self.name = name
        self.kind = kind
        self.help = help
        self.labels = labels
    }

    package static func == (left: Metric, right: Metric) -> Bool { left.name == right.name }
    package func hash(into hasher: inout Hasher) { hasher.combine(name) }
}

extension Metric {
    /// Bounds for the time that an answer takes: from 50 us (an answer out of memory) to 6 s (the client's time-out).
    package static let answerTimes: Kind = .histogram(
        bounds: [0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 6])

    // Every service.
    package static let buildInfo = Metric(
        "hds_build_info", .gauge, "Always 1; the labels tell service and version.", labels: ["service", "version"])
    package static let ready = Metric("hds_ready", .gauge, "1 while the service takes work, else 0.")
    package static let check = Metric(
        "hds_check", .gauge, "State of a health check: 1 ok, 0.5 warn, 0 fail or not known yet.", labels: ["check"])
    package static let alarm = Metric("hds_alarm", .gauge, "1 while the alarm stands, else 0.", labels: ["id"])
    package static let logRecords = Metric(
        "hds_log_records_total", .counter, "Log records written.", labels: ["severity"])
    package static let logRecordsLost = Metric(
        "hds_log_records_lost_total", .counter, "Log records that neither the journal nor stderr took.")
    package static let selfTests = Metric(
        "hds_self_tests_total", .counter, "Self-tests of the work path.", labels: ["outcome"])

    // The process; the names are those that Prometheus client libraries share.
    package static let processResidentMemory = Metric(
        "process_resident_memory_bytes", .gauge, "Resident memory in bytes.")
    package static let processPrivateMemory = Metric(
        "process_private_memory_bytes", .gauge, "Resident anonymous memory (RssAnon) in bytes.")
    package static let processVirtualMemory = Metric("process_virtual_memory_bytes", .gauge, "Virtual memory in bytes.")
    package static let processOpenFiles = Metric("process_open_fds", .gauge, "Open file descriptors.")
    package static let processMaximumFiles = Metric("process_max_fds", .gauge, "Limit of open file descriptors.")
    package static let processThreads = Metric("process_threads", .gauge, "Threads of the process.")
    package static let processCPU = Metric("process_cpu_seconds_total", .counter, "CPU time used, in seconds.")
    package static let processStart = Metric(
        "process_start_time_seconds", .gauge, "Start of the process, in seconds since 1970.")

    // hds-kms
    package static let kmsRequests = Metric(
        "hds_kms_requests_total", .counter, "Requests answered.", labels: ["method", "type", "status"])
    package static let kmsRequestTime = Metric(
        "hds_kms_request_duration_seconds", answerTimes, "Time from receipt of a string to its answer.",
        labels: ["method", "type"])
    package static let kmsResets = Metric(
        "hds_kms_resets_total", .counter, "Strings answered by a signed reset.", labels: ["reason"])
    package static let kmsReplays = Metric(
        "hds_kms_replays_total", .counter, "Mutating requests that came again and got their first answer.")
    package static let kmsDropped = Metric(
        "hds_kms_dropped_total", .counter, "Strings not answered because their sender asks for too many sessions.")
    package static let kmsRequestsInFlight = Metric(
        "hds_kms_requests_in_flight", .gauge, "Requests received and not yet answered.")

    package static let kmsSpaceKeysDue = Metric(
        "hds_kms_space_keys_due", .gauge, "Spaces that wait for a new key since somebody left.")
    package static let leaseHeld = Metric(
        "hds_lease_held", .gauge, "1 while this node may release keys, else 0; absent where one process has the store.")
    package static let leaseEpoch = Metric("hds_lease_epoch", .gauge, "The epoch that this node works in.")
    package static let policyVersion = Metric(
        "hds_policy_version", .gauge, "Version of the signed policy that this node judges by, 0 for none.")

    package static let storeRollback = Metric(
        "hds_store_rollback", .gauge, "1 while no key is released because somebody else changed the database, else 0.")
    package static let storeScannedRows = Metric(
        "hds_store_scanned_rows", .gauge, "Rows that the last look at all rows compared with their sums.")

    // hds-indexer
    package static let indexMessages = Metric(
        "hds_index_messages_total", .counter, "Messages of the feed by what became of them.", labels: ["outcome"])
    package static let indexFiles = Metric(
        "hds_index_files_total", .counter, "Files of messages by what became of their text.", labels: ["outcome"])
    package static let indexBehind = Metric("hds_index_behind", .gauge, "Items of the feed that are not dealt with.")
    package static let indexQueries = Metric(
        "hds_index_queries_total", .counter, "Searches by the status of their answer.", labels: ["status"])

    // hds-ediscovery
    package static let ediscoveryItems = Metric(
        "hds_ediscovery_items_total", .counter, "Items that reports have found.")
    package static let ediscoveryBehind = Metric(
        "hds_ediscovery_behind", .gauge, "Items of the feed that are not in the mirror.")
    package static let ediscoveryCommands = Metric(
        "hds_ediscovery_commands_total", .counter, "Commands of officers by the status of the answer's cover.",
        labels: ["status"])
    package static let ediscoveryInspected = Metric(
        "hds_ediscovery_inspected_total", .counter, "Messages that the inspection looked at, by what became of them.",
        labels: ["outcome"])

    // hds-calendar
    package static let calendarRounds = Metric(
        "hds_calendar_rounds_total", .counter, "Rounds over users' calendars by their outcome.", labels: ["outcome"])
    package static let calendarEvents = Metric(
        "hds_calendar_events_total", .counter, "Events that the core has taken.")
    package static let calendarWrites = Metric(
        "hds_calendar_commands_total", .counter, "Users' commands by action and outcome.", labels: ["outcome"])
    package static let calendarDrift = Metric(
        "hds_calendar_drift_total", .counter,
        "Objects whose change the server had not told, found and repaired by the comparison of all ETags.",
        labels: ["what"])
    package static let calendarUsers = Metric(
        "hds_calendar_users", .gauge, "Users of this node by how they stand.", labels: ["state"])
    package static let calendarLag = Metric(
        "hds_calendar_lag_seconds", .gauge, "The longest time that a user has waited for a round that ended well.")

    // The link, on both ends.
    package static let linkUp = Metric("hds_link_up", .gauge, "1 while the link to the core is established, else 0.")
    package static let linkConnects = Metric(
        "hds_link_connects_total", .counter, "Attempts to connect to the core.", labels: ["outcome"])
    package static let coreLinks = Metric("hds_core_links", .gauge, "Links of services that are established.")
    package static let coreDeliveries = Metric(
        "hds_core_deliveries_total", .counter, "Strings delivered over links.", labels: ["outcome"])
    package static let coreEventSockets = Metric("hds_core_event_sockets", .gauge, "Event sockets of devices.")

    package static let disabledUsers = Metric(
        "hds_kms_disabled_users", .gauge, "Users whom the KMS refuses altogether.")

    // hds-auth
    package static let signIns = Metric("hds_auth_sign_ins_total", .counter, "Sign-ins.", labels: ["outcome"])
    package static let providerSignIns = Metric(
        "hds_auth_provider_sign_ins_total", .counter, "Sign-ins at providers.", labels: ["provider", "outcome"])
    package static let tokens = Metric(
        "hds_auth_tokens_total", .counter, "Tokens issued.", labels: ["grant", "audience"])

    package static let cutOffs = Metric(
        "hds_auth_cut_offs_total", .counter, "People cut off, by who ordered it: operators or directory.",
        labels: ["authority"])
    package static let directoryPeople = Metric(
        "hds_auth_directory_people", .gauge, "Active people of a directory.", labels: ["directory"])
    package static let directoryRounds = Metric(
        "hds_auth_directory_rounds_total", .counter, "Looks at a directory.", labels: ["directory", "outcome"])

    /// Every metric, for the documentation page and the test of the names.
    package static let all: [Metric] = [
        .buildInfo, .ready, .check, .alarm, .logRecords, .logRecordsLost, .selfTests, .processResidentMemory,
        .processPrivateMemory, .processVirtualMemory, .processOpenFiles, .processMaximumFiles, .processThreads,
        .processCPU, .processStart, .kmsRequests, .kmsRequestTime, .kmsResets, .kmsReplays, .kmsDropped,
        .kmsRequestsInFlight,
        .kmsSpaceKeysDue, .leaseHeld, .leaseEpoch, .policyVersion, .storeRollback, .storeScannedRows,
        .indexMessages, .indexFiles, .indexBehind, .indexQueries, .ediscoveryItems,
        .ediscoveryBehind, .ediscoveryCommands, .ediscoveryInspected, .calendarRounds, .calendarEvents, .calendarWrites,
        .calendarDrift,
        .calendarUsers, .calendarLag, .linkUp, .linkConnects, .coreLinks,
        .coreDeliveries,
        .coreEventSockets, .disabledUsers, .signIns, .providerSignIns, .tokens, .cutOffs, .directoryPeople,
        .directoryRounds,
    ]
}
