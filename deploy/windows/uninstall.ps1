#Requires -Version 5.1
<#
.SYNOPSIS
Removes scope-agent: service, event source, environments, config and state. Data that was acquired is not touched.
.DESCRIPTION
Run as administrator. It refuses while acquisitions wait that were not delivered yet.
#>
[CmdletBinding()]
param(
    # Remove it although acquisitions wait that are not delivered. Their files stay where they are.
    [switch]$EvenIfNotDelivered,
    # Keep config, state, journals and logs.
    [switch]$KeepData,
    # Without it the folder that this script lies in, where that is an installation.
    [string]$InstallDir,
    # Without it what the installer was told; such a folder of somebody's choice is not removed, it may hold more.
    [string]$DataDir
)

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

$me = [Security.Principal.WindowsPrincipal][Security.Principal.WindowsIdentity]::GetCurrent()
if (-not $me.IsInRole([Security.Principal.WindowsBuiltInRole]::Administrator)) {
    Write-Host 'scope-agent: run this as administrator'
    exit 1
}

if (-not $InstallDir) {
    $InstallDir = Join-Path $env:ProgramFiles 'scope-agent'
    if (Test-Path -LiteralPath (Join-Path $PSScriptRoot 'scope-agent.cmd')) { $InstallDir = $PSScriptRoot }
}
$dataNote = Join-Path $InstallDir 'data-dir.txt'
if (-not $DataDir) {
    $DataDir = Join-Path $env:ProgramData 'scope-agent'
    if (Test-Path -LiteralPath $dataNote) {
        $said = Get-Content -Raw -Encoding UTF8 -LiteralPath $dataNote
        if ("$said".Trim() -ne $DataDir) {
            $DataDir = "$said".Trim()
            $KeepData = $true
        }
    }
}

$newest = Get-ChildItem -Directory -LiteralPath $InstallDir -ErrorAction SilentlyContinue |
    Sort-Object -Property CreationTime -Descending | Select-Object -First 1
if ($newest) {
    $program = Join-Path $newest.FullName 'Scripts\scope-agent.exe'
    $configFile = Join-Path $DataDir 'config.toml'
    $arguments = @('service', 'uninstall')
    if (Test-Path -LiteralPath $configFile) { $arguments += @('-c', $configFile) }
    if ($EvenIfNotDelivered) { $arguments += '--even-if-not-delivered' }
    & $program @arguments
    if ($LASTEXITCODE -ne 0) { exit $LASTEXITCODE }
}

# The folder that somebody is in cannot be removed.
Set-Location -LiteralPath "$env:SystemDrive\"
Remove-Item -Recurse -Force -LiteralPath $InstallDir -ErrorAction SilentlyContinue
if (-not $KeepData) { Remove-Item -Recurse -Force -LiteralPath $DataDir -ErrorAction SilentlyContinue }
[Environment]::SetEnvironmentVariable('SCOPE_AGENT_CONFIG', $null, 'Machine')
$left = @(@($InstallDir, $DataDir) | Where-Object { Test-Path -LiteralPath $_ })
if ($left.Count -gt 0 -and -not ($KeepData -and $left.Count -eq 1 -and $left[0] -eq $DataDir)) {
    Write-Host "scope-agent: the service is removed, but something is in use: close it, then remove $($left -join ', ')"
    exit 1
}
if ($left.Count -gt 0) { Write-Host "config and state stay in $DataDir" }
Write-Host 'scope-agent is removed; hooks in the environments of acquisition software: scope-agent hook uninstall --python EXE'
exit 0
