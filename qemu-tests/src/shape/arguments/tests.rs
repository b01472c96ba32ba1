use std::path::Path;

use super::*;
use crate::shape::{Credential, Dmi, Fault, Io, Nic};

fn arguments(shape: &Shape, boot: &Boot) -> String {
    let forwards = [vec![Forward {
        guest: 25,
        host: 12_025,
    }]];
    let setting = Setting {
        sockets: Path::new("/s"),
        firmware: Path::new("/fw,1/CODE.fd"),
        accel: Accel::Tcg { single: false },
        boot,
        forwards: &forwards,
    };
    shape.arguments(&setting).join(" ")
}

#[test]
fn the_small_shape_boots_its_disk_and_forwards_its_ports() {
    let line = arguments(&Shape::default(), &Boot::Disk { secure: false });
    for part in [
        "-accel tcg,thread=multi -cpu max",
        "-smp 2,sockets=1,cores=2,threads=1",
        "-m 1536M",
        "if=pflash,unit=0,format=raw,readonly=on,file=/fw,,1/CODE.fd",
        "hostfwd=tcp:127.0.0.1:12025-:25",
        "pcie-root-port,id=port-leg-a,bus=pcie.0,chassis=1,slot=1",
        "virtio-blk-pci,id=system,serial=system,drive=system,bootindex=1",
        "-smbios type=11,value=io.systemd.stub.kernel-cmdline-extra=no_timer_check",
        "socket,id=serial-line,path=/s/serial,server=on,wait=on,logfile=serial.log",
    ] {
        assert!(line.contains(part), "{part} is missing in {line}");
    }
    assert!(!line.contains("smm=on") && !line.contains("numa") && !line.contains("tpm"));
}

#[test]
fn a_kernel_boots_without_firmware_and_without_a_system_disk() {
    let boot = Boot::Kernel {
        kernel: "k".into(),
        initrd: "i".into(),
        command_line: "console=ttyS0 quiet".into(),
    };
    let line = arguments(&Shape::default(), &boot);
    assert!(line.contains("-kernel k -initrd i -append console=ttyS0 quiet no_timer_check"));
    assert!(!line.contains("pflash") && !line.contains("system.raw"));
}

#[test]
fn nodes_split_cpus_and_memory_and_carry_their_disks() {
    let mut shape = Shape {
        cpus: 8,
        sockets: 2,
        memory_mib: 2_048,
        nodes: 2,
        ..Shape::default()
    };
    shape.disks[1].node = Some(1);
    let line = arguments(&shape, &Boot::Disk { secure: true });
    for part in [
        "-machine q35,smm=on",
        "-numa node,nodeid=1,cpus=4-7,memdev=node-memory-1",
        "memory-backend-ram,id=node-memory-0,size=1024M,reserve=off",
        "pxb-pcie,id=expander-1,bus=pcie.0,bus_nr=96,numa_node=1",
        "pcie-root-port,id=port-leg-b,bus=expander-1,",
        "driver=cfi.pflash01,property=secure,value=on",
    ] {
        assert!(line.contains(part), "{part} is missing in {line}");
    }
    assert!(
        !line.contains("expander-0"),
        "nothing hangs on node 0's expander"
    );
}

#[test]
fn faults_stand_between_the_device_and_its_bytes() {
    let mut shape = Shape::default();
    shape.disks[0].faults = vec![Fault {
        sector: Some(8),
        once: true,
        ..Fault::always(Io::Read)
    }];
    let line = arguments(&shape, &Boot::Disk { secure: false });
    assert!(line.contains(r#""node-name":"leg-a-whole""#));
    assert!(line.contains(r#""image":"leg-a-whole""#));
    assert!(
        line.contains(r#""iotype":"read""#)
            && line.contains(r#""sector":8"#)
            && line.contains(r#""once":true"#)
    );
}

#[test]
fn a_log_of_writes_stands_between_the_device_and_its_bytes() {
    let mut shape = Shape::default();
    shape.disks[1].logged = true;
    let line = arguments(&shape, &Boot::Disk { secure: false });
    assert!(line.contains(r#""node-name":"leg-b-whole""#));
    assert!(line.contains(r#""driver":"blklogwrites""#) && line.contains(r#""leg-b.log""#));
    assert!(line.contains(r#""file":"leg-b-whole""#) && line.contains(r#""log":"leg-b-log""#));
    assert!(!line.contains("leg-a-whole"));
}

#[test]
fn a_stick_is_a_directory_that_looks_like_a_disk() {
    let shape = Shape {
        stick: Some("[volume]\n".into()),
        ..Shape::default()
    };
    let line = arguments(&shape, &Boot::Disk { secure: false });
    assert!(line.contains("\"vvfat\"") && line.contains("RINGPOST"));
    assert!(!arguments(&Shape::default(), &Boot::Disk { secure: false }).contains("vvfat"));
}

#[test]
fn each_nic_has_its_own_network() {
    let shape = Shape {
        nics: vec![Nic::virtio("lan0"), Nic::virtio("lan1")],
        ..Shape::default()
    };
    let line = arguments(&shape, &Boot::Disk { secure: false });
    assert!(line.contains("user,id=net-lan0,net=10.0.2.0/24,hostfwd="));
    assert!(line.contains("user,id=net-lan1,net=10.0.3.0/24 "));
    assert!(line.contains("mac=52:54:00:52:50:02"));
}

#[test]
fn nics_side_by_side_hang_on_one_hub() {
    let shape = Shape {
        nics: vec![
            Nic::virtio("lan0"),
            Nic::virtio("lan1"),
            Nic::beside("lan2", "lan1"),
        ],
        ..Shape::default()
    };
    let line = arguments(&shape, &Boot::Disk { secure: false });
    for part in [
        "id=lan0,netdev=net-lan0,mac=52:54:00:52:50:01,bus=pcie.0,addr=0x10",
        "hubport,id=up-lan1,hubid=1,netdev=net-lan1",
        "-netdev hubport,id=hub-lan1,hubid=1 -device virtio-net-pci,id=lan1,netdev=hub-lan1,",
        "-netdev hubport,id=hub-lan2,hubid=1 -device virtio-net-pci,id=lan2,netdev=hub-lan2,",
    ] {
        assert!(line.contains(part), "{part} is missing in {line}");
    }
    assert!(
        !line.contains("net=10.0.4.0"),
        "lan2 has no network of its own"
    );
    assert_eq!(Nic::guest_name(2), "enp0s18");
}

#[test]
fn a_cable_has_an_end_and_an_address_in_each_machine() {
    let line = |end: u8| {
        let shape = Shape {
            nics: vec![
                Nic::virtio("lan0"),
                Nic::at_cable("lan1", Path::new("/c"), end),
            ],
            ..Shape::default()
        };
        arguments(&shape, &Boot::Disk { secure: false })
    };
    for (end, part) in [
        (0, "local.path=/c/0,remote.type=unix,remote.path=/c/1"),
        (1, "local.path=/c/1,remote.type=unix,remote.path=/c/0"),
        (0, "id=lan1,netdev=net-lan1,mac=52:54:00:52:51:02,"),
        (1, "id=lan1,netdev=net-lan1,mac=52:54:00:52:52:02,"),
        (1, "id=lan0,netdev=net-lan0,mac=52:54:00:52:50:01,"),
    ] {
        let line = line(end);
        assert!(line.contains(part), "{part} is missing in {line}");
        assert!(
            !line.contains("net=10.0.3.0"),
            "the host is not at the cable"
        );
    }
}

#[test]
fn identity_doubles_commas_and_credentials_are_files() {
    let shape = Shape {
        dmi: Dmi {
            manufacturer: "Acme, Inc.".into(),
            product: "Post 1".into(),
            board: String::new(),
        },
        credentials: vec![
            Credential::new("ringpost.config", "a = 1\n", By::Smbios),
            Credential::new("ringpost.token", "x", By::FwCfg),
        ],
        watchdog: true,
        tpm: true,
        clock: Some("2001-01-01T00:00:00".into()),
        ..Shape::default()
    };
    let line = arguments(&shape, &Boot::Disk { secure: false });
    for part in [
        "type=1,manufacturer=Acme,, Inc.,product=Post 1",
        "type=11,path=ringpost.config.smbios",
        "name=opt/io.systemd.credentials/ringpost.token,file=ringpost.token.credential",
        "-device i6300esb,bus=pcie.0 -action watchdog=reset",
        "tpm-crb,tpmdev=tpm",
        "base=2001-01-01T00:00:00,clock=host",
    ] {
        assert!(line.contains(part), "{part} is missing in {line}");
    }
    assert_eq!(
        shape.credentials[0].smbios_string(),
        "io.systemd.credential.binary:ringpost.config=YSA9IDEK"
    );
}
